# Hands in a message as a user with Net::SMTP: the arguments are those of submit.py.
# The message has CRLF line ends.
use strict;
use warnings;
use Authen::SASL;
use Net::SMTP;

my ($host, $port, $mode, $ca, $mechanism, $user, $password, $sender, $rcpt) = @ARGV;
my @tls = (SSL_ca_file => $ca, SSL_verify_mode => 1);
my $smtp = Net::SMTP->new($host, Port => $port, Timeout => 60, Hello => 'client.test',
	$mode eq 'smtps' ? (SSL => 1, @tls) : ()) or die "connect: $@";
$mode eq 'smtps' or $smtp->starttls(@tls) or die 'STARTTLS: ', $smtp->message;
my $sasl = Authen::SASL->new(callback => { user => $user, authname => $user, pass => $password },
	$mechanism eq 'any' ? () : (mechanism => $mechanism));
$smtp->auth($mechanism eq 'any' ? ($user, $password) : $sasl) or die 'AUTH: ', $smtp->message;
$smtp->mail($sender, Bits => 8) or die 'MAIL: ', $smtp->message;
$smtp->to($rcpt) or die 'RCPT: ', $smtp->message;
binmode STDIN;
my $text = do { local $/; <STDIN> };
$smtp->data($text) or die 'DATA: ', $smtp->message;
$smtp->quit or die 'QUIT: ', $smtp->message;
