// manifest.js: reads an array of Kubernetes objects as JSON from standard input, and prints what is wrong with them, a line each.
//
// kubernetes-models has a validator for each kind, made from Kubernetes' own description. It lets fields pass that there are
// not; but it never looks at those, so each object is given to it as one that notes what was looked at.
"use strict";

function noted(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  const inner = Array.isArray(value) ? [] : {};
  for (const name of Object.keys(value)) {
    inner[name] = noted(value[name], `${path}/${name}`, unread);
    unread.add(`${path}/${name}`);
  }
  const note = (name) => typeof name === "string" && unread.delete(`${path}/${name}`);
  return new Proxy(inner, { get: (target, name) => (note(name), target[name]) });
}

const PATH = require("path");
const SCHEMAS = PATH.join(PATH.dirname(require.resolve("kubernetes-models/v1")), "../_schemas");

function schema(object) {
  const [group, version] = object.apiVersion.includes("/") ? object.apiVersion.split("/") : ["core", object.apiVersion];
  const name = group.split(".")[0];
  return PATH.join(SCHEMAS, `IoK8sApi${name[0].toUpperCase()}${name.slice(1)}V${version.slice(1)}${object.kind}.js`);
}

function check(object) {
  let validate;
  try {
    ({ validate } = require(schema(object)));
  } catch {
    return [`no such kind: ${object.apiVersion} ${object.kind}`];
  }
  const unread = new Set();
  const good = validate(noted(object, "", unread));
  const said = good ? [] : validate.errors.map((error) => `${error.instancePath} ${error.message}`);
  return said.concat([...unread].map((path) => `${path}: no such field`));
}

let text = "";
process.stdin.on("data", (part) => { text += part; });
process.stdin.on("end", () => {
  for (const object of JSON.parse(text)) {
    for (const line of check(object)) console.log(`${object.kind} ${object.metadata.name}: ${line}`);
  }
});
