/* shared.js - what all guards of one application have in common: the log, the connections. */
'use strict';

const { Log } = require('./log.js');
const { Store } = require('./store.js');

class Shared {
  #stores = [];

  constructor(logger) {
    this.log = new Log(logger);
  }

  open(settings) {
    const store = new Store(settings);
    this.#stores.push(store);
    return store;
  }

  close() {
    for (const store of this.#stores) store.close();
  }
}

module.exports = { Shared };
