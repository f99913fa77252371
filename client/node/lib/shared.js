/* shared.js - what all guards of one application have in common: the log, what is told later, the connections. */
'use strict';

const { Later } = require('./later.js');
const { Log } = require('./log.js');
const { Store } = require('./store.js');

class Shared {
  #stores = [];

  constructor(logger) {
    this.log = new Log(logger);
    this.later = new Later();
  }

  open(settings) {
    const store = new Store(settings);
    this.#stores.push(store);
    return store;
  }

  close() {
    this.later.close();
    for (const store of this.#stores) store.close();
  }
}

module.exports = { Shared };
