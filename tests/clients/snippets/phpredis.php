<?php
function work() {
  if (getenv('WORK') === 'nothing') throw new DidNothing('the bank is closed');
  echo "ran\n";
  if (getenv('WORK') === 'timeout') throw new RuntimeException('the answer timed out');
  return 'the response';
}

// SNIPPET
try {
  $born = getenv('BORN') === false ? null : (int)getenv('BORN');
  $got = once($idem, getenv('KEY'), 'work', $born, getenv('HOLD') !== false);
  echo 'answer ', $got ?? '(none)', "\n";
} catch (Forgotten) {
  echo "forgotten\n";
} catch (DidNothing | RuntimeException $error) {
  if ($error instanceof RedisException) throw $error;
  echo "failed\n";
  exit(1);
}
