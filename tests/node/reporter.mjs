// reporter.mjs - of node --test: what failed and why, and in the end how many tests there were.
export default async function* reporter(source) {
  let [passed, failed] = [0, 0];
  for await (const { type, data } of source) {
    if (type === 'test:fail' && data.details?.type !== 'suite') {
      failed += 1;
      const { cause, message } = data.details.error;
      yield `FAILED: ${data.name} (${data.file}:${data.line})\n${cause?.stack ?? cause ?? message}\n`;
    }
    if (type === 'test:pass' && data.nesting === 0 && data.skip === undefined) passed += 1;
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
  }
  yield `node: ${passed} tests passed, ${failed} failed\n`;
}
