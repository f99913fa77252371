<?php
// phpredis: every step, with rawCommand and the client's own methods. PHP has no threads: what
// waits is a fork of its own.

const BODY = '{"id":1}';
const META = '201';
define('BINARY_KEY', "bin\r\n\0\xff key");
define('BINARY_BODY', implode('', array_map('chr', range(0, 255))) . "\r\n\0\r\n\$5\r\n");

function expect($condition, $what) {
  if (!$condition) throw new Exception($what);
}

function step($name, $function) {
  try {
    $result = $function();
  } catch (Throwable $error) {
    echo "not ok $name ", str_replace("\n", ' ', $error->getMessage()), "\n";
    exit(1);
  }
  echo "ok $name\n";
  return $result;
}

function until($condition, $what) {
  $deadline = microtime(true) + 60;
  while (!$condition()) {
    expect(microtime(true) < $deadline, "$what did not come");
    usleep(5000);
  }
}

function connection() {
  $redis = new Redis();
  $redis->connect(getenv('IDEM_HOST'), (int)getenv('IDEM_PORT'), 5.0);
  $redis->setOption(Redis::OPT_READ_TIMEOUT, 30);
  return $redis;
}

// -ERR is false here, with the text beside it; an error with any other code is thrown.
function refused($redis, $code, ...$args) {
  $redis->clearLastError();
  try {
    $reply = $redis->rawCommand(...$args);
    $error = $reply === false ? (string)$redis->getLastError() : json_encode($reply);
  } catch (RedisException $thrown) {
    $error = $thrown->getMessage();
  }
  expect(strpos($error, $code) !== false, "$code expected, got $error");
}

// Ends a child without destructors: they belong to the parent.
function leave($fine) {
  posix_kill(getmypid(), $fine ? SIGUSR1 : SIGUSR2);
}

// Runs $function in a child with a connection of its own; the child answers with a signal.
function apart($function) {
  $child = pcntl_fork();
  if ($child === 0) {
    $fine = false;
    try {
      $fine = $function(connection());
    } catch (Throwable $error) {
      fwrite(STDERR, $error->getMessage() . "\n");
    }
    leave($fine);
  }
  return $child;
}

function fine($child) {
  pcntl_waitpid($child, $status);
  return pcntl_wifsignaled($status) && pcntl_wtermsig($status) === SIGUSR1;
}

$first = step('connect', function () {
  $redis = connection();
  expect(in_array($redis->ping(), [true, '+PONG'], true), 'PING');
  return $redis;
});
step('name', function () use ($first) {
  expect($first->client('setname', 'php') === true && $first->client('getname') === 'php',
      'CLIENT SETNAME, GETNAME');
});
$token = step('claim', function () use ($first) {
  $reply = $first->rawCommand('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-1', 'LEASE',
      600000);
  expect($reply[0] === 'CLAIMED' && is_int($reply[1]) && $reply[2] === 600000 && $reply[3] === 1,
      json_encode($reply));
  expect($reply[4] === null || $reply[4] === false, json_encode($reply));
  return $reply[1];
});
step('duplicate', function () use ($first) {
  $reply = $first->rawCommand('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'OWNER', 'call-2');
  expect(count($reply) === 5 && $reply[0] === 'BUSY' && $reply[1] > 0 && $reply[1] <= 600000 &&
      $reply[3] === 'call-1' && !$reply[4], // a null, which is false here
      json_encode($reply));
});
$waiter = apart(function ($second) {
  $reply = $second->rawCommand('IDEM.CLAIM', 'order-1', 'FP', 'fp-1', 'WAIT', 50000);
  return array_slice($reply, 0, 3) === ['DONE', BODY, META];
});
step('store', function () use ($first, $token) {
  until(function () use ($first) { return $first->info('clients')['blocked_clients'] == 1; },
      'a waiting connection');
  expect(
      $first->rawCommand('IDEM.STORE', 'order-1', $token, BODY, 'TTL', 60000, 'META', META) === 1,
      'one waiting caller');
});
step('wait', function () use ($waiter) {
  expect(fine($waiter), 'what the waiting connection was told');
});
step('replay', function () use ($first) {
  foreach ([['IDEM.CLAIM', 'order-1', 'FP', 'fp-1'], ['IDEM.FETCH', 'order-1']] as $command) {
    $reply = $first->rawCommand(...$command);
    expect(array_slice($reply, 0, 3) === ['DONE', BODY, META] && $reply[4] > 0 &&
        $reply[4] <= 60000, json_encode($reply));
  }
});
step('binary', function () use ($first) {
  $claim = $first->rawCommand('IDEM.CLAIM', BINARY_KEY);
  expect($first->rawCommand('IDEM.STORE', BINARY_KEY, $claim[1], BINARY_BODY) === 0, 'STORE');
  expect($first->rawCommand('IDEM.FETCH', BINARY_KEY)[1] === BINARY_BODY,
      'the body came back changed');
  expect($first->get(BINARY_KEY) === BINARY_BODY, 'GET of the record');
});
step('refusal', function () use ($first, $token) {
  refused($first, 'MISMATCH', 'IDEM.CLAIM', 'order-1', 'FP', 'fp-2');
  refused($first, 'STALE', 'IDEM.STORE', 'order-1', $token - 1, 'x');
  refused($first, 'unknown command', 'LPUSH', 'a', 'b');
  $first->clearLastError();
});
step('null', function () use ($first) {
  $reply = $first->rawCommand('IDEM.FETCH', 'nobody');
  expect(!$reply && $first->getLastError() === null, 'FETCH of nothing');
});
step('strings', function () use ($first) {
  expect($first->set('lock', 'mine', ['nx', 'px' => 600000]) === true, 'SET NX PX');
  expect($first->set('lock', 'yours', ['nx', 'px' => 600000]) === false, 'a second SET NX');
  expect($first->get('lock') === 'mine' && $first->pttl('lock') > 0, 'GET, PTTL');
  expect($first->del('lock') === 1 && $first->exists('lock') === 0, 'DEL, EXISTS');
});
step('transaction', function () use ($first) {
  expect($first->multi()->set('t', '1')->get('t')->del('t')->exec() === [true, '1', 1],
      'MULTI ... EXEC');
});
step('pubsub', function () use ($first) {
  $listener = apart(function ($second) {
    // phpredis 5 never leaves subscribe, not by unsubscribing either: the child ends inside of it.
    $second->subscribe(['__idem__:order-2'], function ($redis, $channel, $message) {
      leave($message === 'done');
    });
  });
  until(function () use ($first) {
    return $first->pubsub('numsub', ['__idem__:order-2'])['__idem__:order-2'] == 1;
  }, 'a listener');
  $claim = $first->rawCommand('IDEM.CLAIM', 'order-2');
  $first->rawCommand('IDEM.STORE', 'order-2', $claim[1], BODY);
  expect(fine($listener), 'what the listener was told');
});
step('pipeline', function () use ($first) {
  $pipe = $first->multi(Redis::PIPELINE);
  for ($i = 0; $i < 200; $i++) $pipe->rawCommand('IDEM.CLAIM', "many-$i");
  $tokens = array_map(function ($reply) { return $reply[0] === 'CLAIMED' ? $reply[1] : -1; },
      $pipe->exec());
  $sorted = array_unique($tokens);
  sort($sorted);
  expect(count($tokens) === 200 && $tokens === $sorted && $tokens[0] > 0, 'tokens rise');
  $pipe = $first->multi(Redis::PIPELINE);
  foreach ($tokens as $i => $token) $pipe->rawCommand('IDEM.STORE', "many-$i", $token, "$i");
  expect($pipe->exec() === array_fill(0, 200, 0), 'STORE in a pipeline');
});
step('reconnect', function () use ($first, $token) {
  echo "restart\n";
  expect(fgets(STDIN) === "restarted\n", 'the server was not restarted');
  $reply = $first->rawCommand('IDEM.CLAIM', 'order-1'); // phpredis connects again by itself
  expect($reply[0] === 'CLAIMED' && $reply[1] > $token && $reply[3] === 1, json_encode($reply));
});
