<?php
// phpredis with tls://, with and without a certificate of its own.

function expect($condition, $what) {
  if (!$condition) throw new Exception($what);
}

function step($name, $function) {
  try {
    $function();
  } catch (Throwable $error) {
    echo "not ok $name ", str_replace("\n", ' ', $error->getMessage()), "\n";
    exit(1);
  }
  echo "ok $name\n";
}

function connection($port, $stream) {
  $redis = new Redis();
  $redis->connect('tls://' . getenv('IDEM_HOST'), (int)$port, 5.0, null, 0, 60, ['stream' => $stream]);
  return $redis;
}

// What it throws, or PHP warns of and it then returns false for.
function refused($port, $stream) {
  try {
    $said = @connection($port, $stream)->ping();
  } catch (RedisException $error) {
    return;
  }
  expect($said === false, 'it was let in');
}

$trust = ['cafile' => getenv('IDEM_TLS_CA'), 'verify_peer_name' => true];
$own = ['local_cert' => getenv('IDEM_TLS_CERT'), 'local_pk' => getenv('IDEM_TLS_KEY')];
$port = getenv('IDEM_PORT');
$asking = getenv('IDEM_TLS_ASKING_PORT');

step('connect', fn() => expect(connection($port, $trust)->ping() === true, 'no PONG'));
step('claim', function () use ($port, $trust) {
  $idem = connection($port, $trust);
  [$status, $token] = $idem->rawCommand('IDEM.CLAIM', 'k', 'OWNER', 'a');
  expect($status === 'CLAIMED', $status);
  $idem->rawCommand('IDEM.STORE', 'k', $token, str_repeat('x', 100000));
  expect($idem->rawCommand('IDEM.CLAIM', 'k')[1] === str_repeat('x', 100000), 'another body');
});
step('stranger', fn() => refused($port, ['cafile' => getenv('IDEM_TLS_OTHER_CA')]));
step('certificate', fn() => expect(connection($asking, $trust + $own)->ping() === true, 'no PONG'));
step('without', fn() => refused($asking, $trust));
