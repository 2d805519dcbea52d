'use strict';

// The npm package "nacos" 2.x: HTTP v1, UDP push, long polling.

const os = require('os');
const path = require('path');
const readline = require('readline');
const { NacosNamingClient, NacosConfigClient } = require('nacos');

const SERVERS = process.env.SDK_SERVERS;
const SKIP = new Set((process.env.SDK_SKIP || '').split(','));
const GROUP = 'SDK_GROUP';
const SERVICE = 'sdk-node-' + Date.now();
const CONFIG = SERVICE + '.properties';
const STEP_MS = 120000;

const silent = { info() {}, debug() {}, warn() {}, error() {}, log() {} };
const answers = [];
readline.createInterface({ input: process.stdin }).on('line', () => { const next = answers.shift(); if (next) next(); });

const say = line => console.log(JSON.stringify(line));
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

function ask(what, more = {}) {
  return new Promise(resolve => { answers.push(resolve); say({ ask: what, ...more }); });
}

async function step(name, check) {
  if (SKIP.has(name)) return;
  const late = sleep(STEP_MS).then(() => { throw new Error(`not within ${STEP_MS} ms`); });
  try {
    say({ step: name, ok: true, detail: await Promise.race([check(), late]) });
  } catch (error) {
    say({ step: name, ok: false, detail: `${error.name}: ${error.message}` });
  }
}

async function until(seconds, holds) {
  const began = Date.now();
  let last = 'not yet';
  while (Date.now() - began < seconds * 1000) {
    try {
      if (await holds()) return `${Date.now() - began} ms`;
    } catch (error) {
      last = error.message;
    }
    await sleep(30);
  }
  throw new Error(`not within ${seconds} s: ${last}`);
}

function check(holds, otherwise) {
  if (!holds) throw new Error(JSON.stringify(otherwise));
}

async function naming(namespace = 'public') {
  const client = new NacosNamingClient({ logger: silent, serverList: SERVERS.split(','), namespace });
  client.on('error', () => {});
  await client.ready();
  return client;
}

const instance = (ip, port, more = {}) => ({ ip, port, metadata: { v: '1' }, ...more });
const address = host => `${host.ip}:${host.port}`;
const same = (found, ...expected) => JSON.stringify([...found].sort()) === JSON.stringify(expected.sort());

/** What the server says. The SDK keeps its last list when it is told an empty one, so its own answer says nothing then. */
async function hosts(client, service, clusters = '') {
  return JSON.parse(await client._serverProxy.queryList(`${GROUP}@@${service}`, clusters, 0, false)).hosts;
}

const addresses = async (client, service) => (await hosts(client, service)).map(address);

/** A subscription: the lists of its callbacks so far. */
class Watch {
  constructor(client, service) {
    this.lists = [];
    this.listener = list => this.lists.push(list);
    client.subscribe({ serviceName: service, groupName: GROUP }, this.listener);
  }

  last() {
    return Object.fromEntries((this.lists[this.lists.length - 1] || []).map(host => [address(host), host.metadata.v]));
  }

  addresses() {
    return Object.keys(this.last());
  }
}

async function standalone() {
  const mine = await naming();
  const other = await naming();
  await step('connect', () => until(10, async () => await mine.getServerStatus() === 'UP'));
  await step('register', async () => {
    await mine.registerInstance(SERVICE, instance('10.4.0.1', 8001), GROUP);
    return 'ok';
  });
  await step('query', async () => {
    const took = await until(5, async () => (await other.getAllInstances(SERVICE, GROUP, '', false)).length === 1);
    const [ found ] = await other.getAllInstances(SERVICE, GROUP, '', false);
    check(found.metadata.v === '1' && found.healthy && found.serviceName === `${GROUP}@@${SERVICE}`, found);
    return took;
  });
  await step('service-list', async () => {
    const list = await mine._serverProxy.getServiceList(1, 1000, GROUP);
    check(list.data.includes(SERVICE), list);
    return `count ${list.count}`;
  });
  const watch = new Watch(other, SERVICE);
  await step('subscribe', () => until(10, () => same(watch.addresses(), '10.4.0.1:8001')));
  await step('push', async () => {
    await other.registerInstance(SERVICE, instance('10.4.0.2', 8002), GROUP);
    return until(15, () => same(watch.addresses(), '10.4.0.1:8001', '10.4.0.2:8002'));
  });
  await step('update', async () => {
    await mine.registerInstance(SERVICE, instance('10.4.0.1', 8001, { metadata: { v: '2' } }), GROUP);
    return until(15, () => watch.last()['10.4.0.1:8001'] === '2');
  });
  await step('deregister', async () => {
    await other.deregisterInstance(SERVICE, instance('10.4.0.2', 8002), GROUP);
    return until(15, () => same(watch.addresses(), '10.4.0.1:8001'));
  });
  await step('client-death', async () => {
    await ask('hold', { service: SERVICE, ip: '10.4.0.3', port: 8003 });
    await until(30, () => watch.addresses().includes('10.4.0.3:8003'));
    await ask('kill-held');
    return until(60, () => same(watch.addresses(), '10.4.0.1:8001'));
  });
  await step('empty', async () => {
    await mine.deregisterInstance(SERVICE, instance('10.4.0.1', 8001), GROUP);
    const took = await until(15, async () => (await hosts(mine, SERVICE)).length === 0);
    return `${took}, last callback ${watch.addresses()}`;
  });
  await step('unsubscribe', async () => {
    other.unSubscribe({ serviceName: SERVICE, groupName: GROUP }, watch.listener);
    return 'ok';
  });
  await step('persistent', async () => {
    const service = SERVICE + '-durable';
    await mine.registerInstance(service, instance('10.4.0.4', 8004, { ephemeral: false }), GROUP);
    await until(10, async () => {
      const list = await hosts(other, service);
      return list.length === 1 && list[0].ephemeral === false;
    });
    await mine.deregisterInstance(service, instance('10.4.0.4', 8004, { ephemeral: false }), GROUP);
    return until(10, async () => (await hosts(other, service)).length === 0);
  });
  await step('clusters', async () => {
    const service = SERVICE + '-clusters';
    await mine.registerInstance(service, instance('10.4.0.5', 1, { clusterName: 'c2' }), GROUP);
    await other.registerInstance(service, instance('10.4.0.6', 1), GROUP);
    return until(10, async () => (await other.getAllInstances(service, GROUP, 'c2', false)).length === 1
      && (await other.getAllInstances(service, GROUP, '', false)).length === 2);
  });
  await step('namespace', async () => {
    const service = SERVICE + '-namespace';
    const there = await naming('sdk-namespace');
    await there.registerInstance(service, instance('10.4.0.7', 1), GROUP);
    const took = await until(8, async () => (await hosts(there, service)).length === 1);
    check((await hosts(mine, service)).length === 0, 'seen in another namespace');
    return took;
  });
  await config();
  await step('restart', async () => {
    const service = SERVICE + '-restart';
    const followed = new Followed(await configuration(), service + '.properties');
    await followed.change('before', 30);
    await mine.registerInstance(service, instance('10.4.0.8', 8008), GROUP);
    const again = new Watch(other, service);
    await until(10, () => same(again.addresses(), '10.4.0.8:8008'));
    await ask('restart');
    await step('config-restart', async () => {
      await until(60, async () => await followed.client.getConfig(followed.id, GROUP) === 'before');
      return followed.change('after', 60);
    });
    const took = await until(60, async () => same(await addresses(other, service), '10.4.0.8:8008'));
    await until(30, async () => {
      await mine.registerInstance(service, instance('10.4.0.8', 8008, { metadata: { v: 'restarted' } }), GROUP);
      return true;
    });
    const told = await until(30, () => again.last()['10.4.0.8:8008'] === 'restarted');
    return `there again after ${took}, a change told after ${told}`;
  });
}

async function configuration() {
  const client = new NacosConfigClient({ serverAddr: SERVERS, namespace: '', requestTimeout: 6000, cacheDir: path.join(os.homedir(), 'config') });
  client.on('error', () => {});
  await client.ready();
  return client;
}

/** A configuration whose changes are told. */
class Followed {
  constructor(client, id) {
    this.client = client;
    this.id = id;
    this.heard = [];
    client.subscribe({ dataId: id, group: GROUP }, content => this.heard.push(content));
  }

  /** Publishes, again until it is taken, and waits until it is told. */
  async change(content, seconds) {
    await until(seconds, () => this.client.publishSingle(this.id, GROUP, content));
    return until(seconds, () => this.heard[this.heard.length - 1] === content);
  }
}

async function config() {
  let client;
  const heard = [];
  await step('config-connect', async () => {
    client = await configuration();
    return 'ok';
  });
  await step('config-get-missing', async () => {
    const found = await client.getConfig(CONFIG, GROUP);
    check(!found, found);
    return String(found);
  });
  await step('config-publish', async () => {
    check(await client.publishSingle(CONFIG, GROUP, 'a=1\n中文'), 'false');
    return 'ok';
  });
  await step('config-get', () => until(5, async () => await client.getConfig(CONFIG, GROUP) === 'a=1\n中文'));
  await step('config-listen', async () => {
    client.subscribe({ dataId: CONFIG, group: GROUP }, content => heard.push(content));
    await sleep(2500); // the first callback tells what is there
    heard.length = 0;
    await client.publishSingle(CONFIG, GROUP, 'a=2');
    return until(25, () => heard[0] === 'a=2');
  });
  await step('config-remove', async () => {
    await client.remove(CONFIG, GROUP);
    return until(5, async () => !await client.getConfig(CONFIG, GROUP));
  });
}

async function cluster() {
  const mine = await naming();
  const other = await naming();
  const service = SERVICE + '-cluster';
  const both = [ '10.4.1.1:8001', '10.4.1.2:8002' ];
  await step('cluster-register', async () => {
    await mine.registerInstance(service, instance('10.4.1.1', 8001), GROUP);
    return until(10, async () => same(await addresses(other, service), '10.4.1.1:8001'));
  });
  const watch = new Watch(other, service);
  await step('cluster-push', async () => {
    await until(20, () => same(watch.addresses(), '10.4.1.1:8001'));
    await other.registerInstance(service, instance('10.4.1.2', 8002), GROUP);
    return until(20, () => same(watch.addresses(), ...both));
  });
  const followed = new Followed(await configuration(), service + '.properties');
  await step('cluster-config', () => followed.change('0', 40));
  const seen = watch.lists.length - 1;
  for (const number of [ 1, 2, 3 ]) {
    await step(`death-${number}`, async () => {
      await ask(`kill-${number}`);
      try {
        const v = `death-${number}`;
        await step(`config-${v}`, () => followed.change(v, 60));
        await until(30, async () => {
          await mine.registerInstance(service, instance('10.4.1.1', 8001, { metadata: { v } }), GROUP);
          return true;
        });
        const took = await until(30, () => watch.last()['10.4.1.1:8001'] === v);
        const asked = await addresses(mine, service);
        check(same(asked, ...both), asked);
        const odd = watch.lists.slice(seen).find(list => !same(list.map(address), ...both));
        check(!odd, odd && odd.map(address));
        return took;
      } finally {
        await ask(`revive-${number}`);
      }
    });
  }
  await step('cluster-deregister', async () => {
    await other.deregisterInstance(service, instance('10.4.1.2', 8002), GROUP);
    return until(20, () => same(watch.addresses(), '10.4.1.1:8001'));
  });
}

async function hold(service, ip, port) {
  const client = await naming();
  await client.registerInstance(service, instance(ip, Number(port)), GROUP);
  const watch = new Watch(client, service);
  for (let told = 0; ; await sleep(20)) {
    for (; told < watch.lists.length; told++) say({ event: watch.lists[told].map(address) });
  }
}

const [ mode, ...rest ] = process.argv.slice(2);
({ standalone, cluster, hold })[mode](...rest).then(() => process.exit(0), error => { console.error(error); process.exit(1); });
