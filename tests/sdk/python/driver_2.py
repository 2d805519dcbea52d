"""nacos-sdk-python 2.x and 3.x: gRPC, asyncio."""

import asyncio
import hashlib
import json
import logging
import os
import sys
import time

logging.disable(logging.CRITICAL)
from v2.nacos import (  # noqa: E402
    BatchRegisterInstanceParam,
    ClientConfigBuilder,
    ConfigParam,
    DeregisterInstanceParam,
    GRPCConfig,
    ListInstanceParam,
    ListServiceParam,
    NacosConfigService,
    NacosNamingService,
    RegisterInstanceParam,
    SubscribeServiceParam,
)

SERVERS = os.environ["SDK_SERVERS"]
SKIP = set(os.environ.get("SDK_SKIP", "").split(","))
HOME = os.environ["HOME"]
GROUP = "SDK_GROUP"
SERVICE = f"sdk-python-{int(time.time() * 1000)}"
CONFIG = SERVICE + ".properties"
STEP_SECONDS = 120


def say(**line):
    print(json.dumps(line), flush=True)


async def ask(what, **more):
    say(ask=what, **more)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def step(name, check):
    if name in SKIP:
        return
    try:
        say(step=name, ok=True, detail=await asyncio.wait_for(check(), STEP_SECONDS))
    except BaseException as error:  # the SDK raises what it likes
        say(step=name, ok=False, detail=f"{type(error).__name__}: {error}")


async def until(seconds, holds):
    began = time.monotonic()
    last = "not yet"
    while time.monotonic() - began < seconds:
        try:
            if await holds():
                return f"{(time.monotonic() - began) * 1000:.0f} ms"
        except Exception as error:  # the SDK raises while no server answers
            last = error
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {last}")


# Version 2.0 sends an empty namespace as it is when listing services, so the name is given.
def settings(namespace="public"):
    cache = os.path.join(HOME, os.urandom(4).hex())
    builder = ClientConfigBuilder().server_address(SERVERS).namespace_id(namespace).log_level("ERROR")
    return builder.log_dir(cache + "/log").cache_dir(cache).grpc_config(GRPCConfig(grpc_timeout=5000)).build()


async def naming(namespace="public"):
    return await NacosNamingService.create_naming_service(settings(namespace))


def registration(service, ip, port, value="1", ephemeral=True, cluster="DEFAULT"):
    return RegisterInstanceParam(
        service_name=service, group_name=GROUP, ip=ip, port=port, ephemeral=ephemeral, cluster_name=cluster, weight=1.0,
        metadata={"v": value}, enabled=True, healthy=True,
    )


async def register(of, service, ip, port, **more):
    assert await of.register_instance(registration(service, ip, port, **more)), "not registered"


async def deregister(of, service, ip, port, ephemeral=True):
    gone = DeregisterInstanceParam(
        service_name=service, group_name=GROUP, ip=ip, port=port, ephemeral=ephemeral, cluster_name="DEFAULT"
    )
    assert await of.deregister_instance(gone), "not deregistered"


async def hosts(service=SERVICE, clusters=(), namespace="public"):
    """Asked by a fresh client: the SDK subscribes to whatever it lists, and answers from its cache from then on."""
    fresh = await naming(namespace)
    try:
        asked = ListInstanceParam(
            service_name=service, group_name=GROUP, clusters=list(clusters), subscribe=False, healthy_only=None
        )
        return await fresh.list_instances(asked)
    finally:
        try:
            await fresh.shutdown()
        except TypeError:
            pass  # version 2.0.11 awaits what cannot be awaited, after it has closed everything


def values(found):
    return {f"{host.ip}:{host.port}": host.metadata.get("v") for host in found}


class Watch:
    """A subscription: the lists of its callbacks so far."""

    def __init__(self, service):
        self.lists = []
        self.param = SubscribeServiceParam(
            service_name=service, group_name=GROUP, clusters=[], subscribe_callback=self.called
        )

    @classmethod
    async def of(cls, client, service):
        watch = cls(service)
        await client.subscribe(watch.param)
        return watch

    async def called(self, found):
        self.lists.append(list(found))

    def last(self):
        return values(self.lists[-1]) if self.lists else {}

    async def sees(self, *expected):
        return set(self.last()) == set(expected)


async def standalone():
    mine, other = await naming(), await naming()

    async def connect():
        assert await mine.server_health(), "not healthy"
        return "healthy"

    async def registered():
        await register(mine, SERVICE, "10.2.0.1", 8001)
        return "ok"

    async def query():
        async def one():
            return len(await hosts()) == 1

        took = await until(5, one)
        found = (await hosts())[0]
        assert found.metadata == {"v": "1"} and found.healthy and found.serviceName == f"{GROUP}@@{SERVICE}", found
        return took

    async def services():
        asked = ListServiceParam(namespace_id="public", group_name=GROUP, page_no=1, page_size=1000)
        answer = await mine.list_services(asked)
        assert SERVICE in answer.services, answer
        return f"count {answer.count}"

    await step("connect", connect)
    await step("register", registered)
    await step("query", query)
    await step("service-list", services)
    watch = Watch(SERVICE)

    async def subscribe():
        await other.subscribe(watch.param)
        return "the SDK gives no first callback"

    async def push():
        await register(other, SERVICE, "10.2.0.2", 8002)
        return await until(15, lambda: watch.sees("10.2.0.1:8001", "10.2.0.2:8002"))

    async def update():
        await mine.update_instance(registration(SERVICE, "10.2.0.1", 8001, value="2"))

        async def told():
            return watch.last().get("10.2.0.1:8001") == "2"

        return await until(15, told)

    async def gone():
        await deregister(other, SERVICE, "10.2.0.2", 8002)
        return await until(15, lambda: watch.sees("10.2.0.1:8001"))

    async def death():
        await ask("hold", service=SERVICE, ip="10.2.0.3", port=8003)
        await until(30, lambda: watch.sees("10.2.0.1:8001", "10.2.0.3:8003"))
        await ask("kill-held")
        return await until(60, lambda: watch.sees("10.2.0.1:8001"))

    async def empty():
        await deregister(mine, SERVICE, "10.2.0.1", 8001)

        async def none():  # the SDK does not call back with an empty list
            return not await hosts()

        return await until(15, none)

    async def unsubscribe():
        await other.unsubscribe(watch.param)
        return "ok"

    await step("subscribe", subscribe)
    await step("push", push)
    await step("update", update)
    await step("deregister", gone)
    await step("client-death", death)
    await step("empty", empty)
    await step("unsubscribe", unsubscribe)
    await more(mine, other)
    await config()
    await step("restart", lambda: restart(mine, other))


async def more(mine, other):
    async def persistent():
        name = SERVICE + "-durable"
        await register(mine, name, "10.2.0.4", 8004, ephemeral=False)

        async def there():
            return [host.ephemeral for host in await hosts(name)] == [False]

        async def none():
            return not await hosts(name)

        await until(10, there)
        await deregister(mine, name, "10.2.0.4", 8004, ephemeral=False)
        return await until(10, none)

    async def batch():
        name = SERVICE + "-batch"
        both = [registration(name, "10.2.0.5", 1), registration(name, "10.2.0.5", 2)]
        await mine.batch_register_instances(
            BatchRegisterInstanceParam(service_name=name, group_name=GROUP, instances=both)
        )

        async def there():
            return len(await hosts(name)) == 2

        return await until(10, there)

    async def clusters():
        name = SERVICE + "-clusters"
        await register(mine, name, "10.2.0.6", 1, cluster="c2")
        await register(other, name, "10.2.0.7", 1)

        async def both():
            return len(await hosts(name, ["c2"])) == 1 and len(await hosts(name)) == 2

        return await until(10, both)

    async def namespace():
        name, there = SERVICE + "-namespace", await naming("sdk-namespace")
        await register(there, name, "10.2.0.8", 1)

        async def one():
            return len(await hosts(name, namespace="sdk-namespace")) == 1

        took = await until(8, one)
        assert not await hosts(name), "seen in another namespace"
        return took

    await step("persistent", persistent)
    await step("batch", batch)
    await step("clusters", clusters)
    await step("namespace", namespace)


async def restart(mine, other):
    name = SERVICE + "-restart"
    settled = await NacosConfigService.create_config_service(settings(""))
    followed = await Followed.of(settled, name + ".properties")
    await followed.change(settled, "before", 30)
    await register(mine, name, "10.2.0.9", 8009)
    watch = await Watch.of(other, name)

    async def there():
        return set(values(await hosts(name))) == {"10.2.0.9:8009"}

    async def again():
        await register(mine, name, "10.2.0.9", 8009, value="restarted")
        return True

    async def told():
        return watch.last().get("10.2.0.9:8009") == "restarted"

    await until(10, there)
    async def present():
        async def before():
            return await settled.get_config(ConfigParam(data_id=followed.id, group=GROUP)) == "before"

        await until(60, before)
        return await followed.change(settled, "after", 60)

    await ask("restart")
    await step("config-restart", present)
    took = await until(60, there)
    await until(30, again)
    return f"there again after {took}, a change told after {await until(60, told)}"


class Followed:
    """A configuration whose changes are told."""

    @classmethod
    async def of(cls, listening, id):
        followed = cls()
        followed.id, followed.heard = id, []
        await listening.add_listener(id, GROUP, followed.called)
        return followed

    async def called(self, _tenant, _data_id, _group, content):
        self.heard.append(content)

    async def change(self, publishing, content, seconds):
        async def taken():
            return await publishing.publish_config(ConfigParam(data_id=self.id, group=GROUP, content=content))

        async def told():
            return bool(self.heard) and self.heard[-1] == content

        await until(seconds, taken)
        return await until(seconds, told)


async def config():
    if "config-connect" in SKIP:
        return
    client = await NacosConfigService.create_config_service(settings(""))
    heard = asyncio.Queue()

    def key(**more):
        return ConfigParam(data_id=CONFIG, group=GROUP, **more)

    async def connect():
        assert await client.server_health(), "not healthy"
        return "healthy"

    async def missing():
        assert not await client.get_config(key()), "something is there"
        return "nothing"

    async def publish():
        assert await client.publish_config(key(content="a=1\n中文")), "not published"
        return "ok"

    async def get():
        async def there():
            return await client.get_config(key()) == "a=1\n中文"

        return await until(5, there)

    async def on_change(_tenant, _data_id, _group, content):
        await heard.put(content)

    async def listen():
        await client.add_listener(CONFIG, GROUP, on_change)
        await asyncio.sleep(2)  # the SDK starts listening by itself
        while not heard.empty():
            heard.get_nowait()
        began = time.monotonic()
        await client.publish_config(key(content="a=2"))
        told = await asyncio.wait_for(heard.get(), 20)
        assert told == "a=2", told
        return f"{(time.monotonic() - began) * 1000:.0f} ms"

    async def compare_and_set():
        async def publish_over(md5):
            try:
                return await client.publish_config(key(content="a=3", cas_md5=md5))
            except Exception as error:
                return str(error)

        stale, present = await publish_over("0" * 32), await publish_over(hashlib.md5(b"a=2").hexdigest())
        assert stale is not True and present is True, (stale, present)
        return f"stale: {stale}"

    async def remove():
        assert await client.remove_config(key()), "not removed"

        async def none():
            return not await client.get_config(key())

        return await until(5, none)

    async def namespace():
        there = await NacosConfigService.create_config_service(settings("sdk-namespace"))
        name = "n-" + CONFIG
        await there.publish_config(ConfigParam(data_id=name, group=GROUP, content="there"))

        async def seen():
            return await there.get_config(ConfigParam(data_id=name, group=GROUP)) == "there"

        took = await until(8, seen)
        assert not await client.get_config(ConfigParam(data_id=name, group=GROUP)), "seen in another namespace"
        return took

    await step("config-connect", connect)
    await step("config-get-missing", missing)
    await step("config-publish", publish)
    await step("config-get", get)
    await step("config-listen", listen)
    await step("config-cas", compare_and_set)
    await step("config-remove", remove)
    await step("config-namespace", namespace)


async def cluster():
    mine, other = await naming(), await naming()
    service = SERVICE + "-cluster"
    both = {"10.2.1.1:8001", "10.2.1.2:8002"}

    async def registered():
        await register(mine, service, "10.2.1.1", 8001)

        async def there():
            return set(values(await hosts(service))) == {"10.2.1.1:8001"}

        return await until(10, there)

    await step("cluster-register", registered)
    watch = await Watch.of(other, service)

    async def push():
        await register(other, service, "10.2.1.2", 8002)
        return await until(20, lambda: watch.sees(*both))

    await step("cluster-push", push)
    publishing = await NacosConfigService.create_config_service(settings(""))
    listening = await NacosConfigService.create_config_service(settings(""))
    followed = await Followed.of(listening, service + ".properties")
    await step("cluster-config", lambda: followed.change(publishing, "0", 20))
    seen = max(len(watch.lists) - 1, 0)

    async def death(number):
        await ask(f"kill-{number}")
        try:
            value = f"death-{number}"
            await step(f"config-{value}", lambda: followed.change(publishing, value, 60))

            async def again():
                await register(mine, service, "10.2.1.1", 8001, value=value)
                return True

            async def told():
                return watch.last().get("10.2.1.1:8001") == value

            async def complete():
                return set(values(await hosts(service))) == both

            await until(30, again)
            took = await until(60, told)  # an idle client notices by its health check, and tries the dead member again
            await until(1, complete)
            for found in watch.lists[seen:]:
                assert set(values(found)) == both and len(found) == 2, f"a callback gave {values(found)}"
            return took
        finally:
            await ask(f"revive-{number}")

    for number in (1, 2, 3):
        await step(f"death-{number}", lambda: death(number))

    async def gone():
        await deregister(other, service, "10.2.1.2", 8002)
        return await until(20, lambda: watch.sees("10.2.1.1:8001"))

    await step("cluster-deregister", gone)


async def hold(service, ip, port):
    client = await naming()
    await register(client, service, ip, int(port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"standalone": standalone, "cluster": cluster, "hold": hold}[sys.argv[1]](*sys.argv[2:]))
    os._exit(0)
