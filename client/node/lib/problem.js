/* problem.js - every answer that is not the application's: application/problem+json (RFC 9457), never stored. */
'use strict';

const RETRY_AFTER = ['retry-after', '1']; // seconds

// type: [status, title, whether to try again soon]
const PROBLEMS = {
  'key-missing': [400, 'The request needs an idempotency key'],
  'key-malformed': [400, 'The idempotency key cannot be used'],
  'request-too-large': [413, 'The request is too large for one with an idempotency key'],
  'in-progress': [409, 'The first request with this key is still running', true],
  'key-reused': [422, 'The key was used for a different request'],
  'outcome-unknown': [409, 'An earlier request with this key may have run'],
  forgotten: [412, 'The request may have run already'],
  'response-not-kept': [410, 'The request has run, but its response is not kept'],
  unavailable: [503, 'Cannot tell whether the request has run already', true],
  'did-nothing': [503, 'The request was not carried out'],
};

/* Returns {status, headers, body}: a response as a replay is one. more: other members, or another status. */
function problem(settings, type, detail, more = {}) {
  const [status, title, soon] = PROBLEMS[type];
  const members = { type: settings.problemBase + type, title, status, detail, ...more };
  const headers = [['content-type', 'application/problem+json']];
  if (soon) headers.push(RETRY_AFTER);
  if (settings.docsUrl) headers.push(['link', `<${settings.docsUrl}>; rel="describedby"`]);
  return { status: members.status, headers, body: Buffer.from(JSON.stringify(members)) };
}

/* For an error that says so. */
function didNothing(settings, error) {
  const answer = problem(settings, 'did-nothing', error.message, { status: error.status });
  if (answer.status === 503) answer.headers.push(RETRY_AFTER);
  return answer;
}

module.exports = { problem, didNothing };
