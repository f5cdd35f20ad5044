"""libtorrent under test, driven through its Python module. Its settings are the defaults but for what is said below.

usage: libtorrent_client.py download|seed|check TORRENT DIRECTORY ADDRESS PORT plain|utp|rc4
       libtorrent_client.py create v1|v2|hybrid PIECE_LENGTH PATH OUTPUT
       libtorrent_client.py many LIST DIRECTORY ADDRESS PORT plain       LIST: a file with the path of a torrent on each line

`download`, `check` and `create` end when the work is done, the others never.
`check` and `create` print one JSON line: what the work itself took, without the start of Python.
"""

import json
import os
import resource
import sys
import time

import libtorrent as lt


# What carries the transfer, beside or in the place of plain BitTorrent over TCP. A seed goes on answering that, so that it can be asked
# whether it is ready; it is who downloads that insists.
WAYS = {
    "plain": {},
    "utp": {"enable_outgoing_utp": True, "enable_incoming_utp": True, "enable_outgoing_tcp": False},
    "rc4": {"out_enc_policy": int(lt.enc_policy.forced), "allowed_enc_level": int(lt.enc_level.rc4)},
}


def settings(address, port, way):
    return {
        "listen_interfaces": f"{address}:{port}",
        # There is nobody to find and no router.
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        # The peers of the benchmark speak plain BitTorrent over TCP: no time is lost with other attempts.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "out_enc_policy": int(lt.enc_policy.disabled),
    } | WAYS[way]


def added(session, torrent, directory, flags=0):
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(torrent)
    params.save_path = directory
    # Not queued behind others.
    params.flags = (params.flags | flags) & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    return session.add_torrent(params)


def wait_finished(handle):
    while not (status := handle.status()).is_seeding:
        if status.errc.value():
            sys.exit(status.errc.message())
        time.sleep(0.01)


def report(begin, usage):
    end, now = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    spent = {
        "seconds": end - begin,
        "user_s": now.ru_utime - usage.ru_utime,
        "system_s": now.ru_stime - usage.ru_stime,
    }
    print(json.dumps(spent), flush=True)


def create(version, piece_length, path, output):
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[version]
    storage = lt.file_storage()
    lt.add_files(storage, path)
    torrent = lt.create_torrent(storage, int(piece_length), flags)
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(output, "wb") as file:
        file.write(lt.bencode(torrent.generate()))


def main(role, *args):
    begin, usage = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    if role == "create":
        create(*args)
        report(begin, usage)
        return
    what, directory, address, port, way = args
    own = settings(address, port, way)
    if role == "check":
        # Whoever has many files to check sets it; the default is one thread.
        own["hashing_threads"] = os.cpu_count()
    session = lt.session(own)
    if role == "many":
        with open(what) as paths:
            for path in paths:
                added(session, path.strip(), directory)
    elif role == "seed":
        # It may take the data as it is: whether it is right is found out by who downloads.
        added(session, what, directory, lt.torrent_flags.seed_mode)
    else:
        wait_finished(added(session, what, directory))
        if role == "check":
            report(begin, usage)
        return
    while True:
        time.sleep(1000)


main(*sys.argv[1:])
