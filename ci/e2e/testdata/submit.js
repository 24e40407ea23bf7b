// Hands in a message as a user with Nodemailer: the arguments are those of submit.py.
// The message has CRLF line ends.
const fs = require('fs');
const nodemailer = require('nodemailer');

const [host, port, mode, ca, mechanism, user, pass, from, to] = process.argv.slice(2);
const transport = nodemailer.createTransport({
  // Where there is no interface but the loopback, Nodemailer takes no name for it.
  host: '127.0.0.1', port: Number(port), name: 'client.test',
  secure: mode === 'smtps', requireTLS: mode !== 'smtps',
  tls: { servername: host, ca: fs.readFileSync(ca) },
  auth: { user, pass },
  authMethod: mechanism === 'any' ? undefined : mechanism,
});
transport.sendMail({ envelope: { from, to: [to], use8BitMime: true }, raw: fs.readFileSync(0) })
  .then(() => transport.close(), (err) => { console.error(err); process.exit(1); });
