# The start of Godwit for the benchmark that compares mail servers: sourced by its run.sh as
# PEER_SCRIPT. GODWIT and GODWITCTL name the binaries.
GODWIT=${GODWIT:-$BENCH_DIR/root/godwit/smtpd}; GODWITCTL=${GODWITCTL:-$BENCH_DIR/root/godwit/smtpctl}
SPOOL=$RUN/spool
PEER_PIPELINE=1
peer_version() { "$GODWIT" -h 2>&1 | head -1; }
peer_files() { echo "$GODWIT" "$GODWITCTL"; }
peer_config() { MODE=$1; mkdir -p "$RUN/conf"
  case $1 in
    hold|relay|idle) act='action "a" relay host smtp://127.0.0.1:2526' ;;
    defer) act='action "a" relay host smtp://127.0.0.1:2599' ;;
    local) act='action "a" maildir' ;;
  esac
  cat > "$RUN/conf/smtpd.conf" <<C
pki mx.bench.test cert "$BENCH_DIR/certs/cert.pem"
pki mx.bench.test key "$BENCH_DIR/certs/key.pem"
smtp max-message-size 60M
listen on 127.0.0.1 port 2525 tls pki mx.bench.test hostname mx.bench.test
$act
match from any for any action "a"
C
}
peer_start() { in_srv "$GODWIT" -F -f "$RUN/conf/smtpd.conf" -S "$SPOOL" -s $RUN/sock $( [ "$MODE" = hold ] || [ "$MODE" = idle ] && echo -P mta -P mda) >"$RUN/out.log" 2>&1 & sleep 0.01; }
peer_stop() { kill $(srv_pids | head -1) 2>/dev/null; for i in $(seq 60); do [ -z "$(srv_pids)" ] && break; sleep 0.1; done; }
peer_reset() { rm -rf "$SPOOL"; mkdir -p "$SPOOL"; chmod 711 "$SPOOL"; }
peer_mailq() { "$GODWITCTL" -s $RUN/sock show queue; }
peer_count() { "$GODWITCTL" -s $RUN/sock show stats | awk -F= '/^scheduler.envelope=/{print $2}'; }
