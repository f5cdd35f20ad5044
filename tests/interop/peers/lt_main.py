"""libtorrent in a process of its own; run by clients.py. Says what happens as JSON lines on stdout, ends on SIGINT or SIGTERM."""

import argparse
import json
import signal
import sys
import time

import libtorrent as lt


def say(**fields):
    print(json.dumps(fields | {"at": time.monotonic()}), flush=True)


# All nodes of the suite are neighbours: rules against many nodes in one network would leave nearly none of them.
DHT_IN_ONE_NETWORK = {
    "dht_bootstrap_nodes": "",
    "dht_restrict_routing_ips": False,
    "dht_restrict_search_ips": False,
    "dht_ignore_dark_internet": False,
    "dht_prefer_verified_node_ids": False,
}


def session(options):
    tcp_only = not options.as_installed
    host = f"[{options.bind}]" if ":" in options.bind else options.bind
    settings = {
        "listen_interfaces": f"{host}:{options.port}",
        "outgoing_interfaces": options.bind,
        "enable_dht": options.dht,
        "enable_lsd": options.lsd,
        "enable_upnp": False,
        "enable_natpmp": False,
        "allow_multiple_connections_per_ip": True,
        "upload_rate_limit": options.limit_up,
        "download_rate_limit": options.limit_down,
        "alert_mask": lt.alert.category_t.status_notification
        | lt.alert.category_t.error_notification
        | lt.alert.category_t.storage_notification
        | lt.alert.category_t.stats_notification
        | (lt.alert.category_t.piece_progress_notification if options.timings else 0),
    } | DHT_IN_ONE_NETWORK
    if tcp_only:
        plain = int(lt.enc_policy.disabled)
        settings |= {
            "enable_outgoing_utp": False,
            "enable_incoming_utp": False,
            "out_enc_policy": plain,
            "in_enc_policy": plain,
        }
    if options.utp:
        settings |= {
            "enable_outgoing_utp": True,
            "enable_incoming_utp": True,
            "enable_outgoing_tcp": False,
            "enable_incoming_tcp": False,
        }
    if options.encryption:
        forced = int(lt.enc_policy.forced)
        level = lt.enc_level.rc4 if options.encryption == "rc4" else lt.enc_level.plaintext
        settings |= {"out_enc_policy": forced, "in_enc_policy": forced, "allowed_enc_level": int(level)}
    if not options.no_pex:
        return lt.session(settings)
    # The flag of a torrent leaves the offer of ut_pex in the handshake.
    client = lt.session(settings, flags=0)
    client.add_extension("ut_metadata")
    return client


def join(client):
    """Until the DHT is joined: as many nodes are known as are asked of others."""
    while True:
        client.post_session_stats()
        client.wait_for_alert(100)
        stats = [alert.values for alert in client.pop_alerts() if isinstance(alert, lt.session_stats_alert)]
        if any(values["dht.dht_nodes"] >= 8 for values in stats):
            return


def main():
    ask = argparse.ArgumentParser()
    ask.add_argument("role", choices=["seed", "download"])
    ask.add_argument("torrent")
    ask.add_argument("directory")
    ask.add_argument("--bind", required=True)
    ask.add_argument("--port", type=int, required=True)
    ask.add_argument("--peer", action="append", default=[])
    ask.add_argument("--limit-up", type=int, default=0)
    ask.add_argument("--limit-down", type=int, default=0)
    ask.add_argument("--trust", action="store_true", help="seed without checking: how a seed comes to corrupt")
    ask.add_argument("--as-installed", action="store_true", help="uTP and encryption as libtorrent has them by default")
    ask.add_argument("--encryption", choices=["rc4", "plaintext"], help="encryption forced: of the whole stream, or of its beginning")
    ask.add_argument("--utp", action="store_true", help="uTP and no TCP")
    ask.add_argument("--dht", action="store_true", help="take part in the DHT")
    ask.add_argument("--dht-node", action="append", default=[], help="a node to join by; implies --dht")
    ask.add_argument("--lsd", action="store_true", help="local service discovery")
    ask.add_argument("--no-pex", action="store_true", help="no peer exchange")
    ask.add_argument("--join-first", action="store_true", help="add the torrent only when the DHT is joined, and say then that it starts")
    ask.add_argument("--progress", action="store_true", help="say ten times a second how much payload was moved")
    ask.add_argument("--timings", action="store_true", help="say when the metadata and the first piece came")
    options = ask.parse_args()
    options.dht = options.dht or bool(options.dht_node)

    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if not options.join_first:
        say(event="start")
    client = session(options)
    for node in options.dht_node:
        host, port = node.rsplit(":", 1)
        client.add_dht_node((host.strip("[]"), int(port)))
    if options.join_first:
        join(client)
        say(event="start")
    if options.torrent.startswith("magnet:"):
        add = lt.parse_magnet_uri(options.torrent)
    else:
        add = lt.add_torrent_params()
        add.ti = lt.torrent_info(options.torrent)
    add.save_path = options.directory
    add.flags = lt.torrent_flags.update_subscribe
    if options.trust:
        add.flags |= lt.torrent_flags.seed_mode
    handle = client.add_torrent(add)
    for peer in options.peer:
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host.strip("[]"), int(port)))

    started = asked = False
    once = {"metadata_received_alert": "metadata", "piece_finished_alert": "first piece"}
    met = set()
    while True:
        client.wait_for_alert(100)
        if options.progress:
            status = handle.status()
            say(event="progress", down=status.total_payload_download, up=status.total_payload_upload)
            time.sleep(0.1)
        for peer in handle.get_peer_info():
            if not peer.flags & (lt.peer_info.handshake | lt.peer_info.connecting) and peer.ip not in met:
                met.add(peer.ip)
                say(event="met", peer="{}:{}".format(*peer.ip))
        for alert in client.pop_alerts():
            name = type(alert).__name__
            if name in ("hash_failed_alert", "file_error_alert", "torrent_error_alert"):
                say(event=name, message=alert.message())
            elif name in once:
                say(event=once.pop(name))
            elif name == "cache_flushed_alert" and asked and not started:
                started = True
                say(event="seeding", payload_down=handle.status().total_payload_download)
        # All pieces hash right before all of them are written: complete means flushed as well.
        if not asked and handle.status().is_seeding:
            asked = True
            handle.flush_cache()


if __name__ == "__main__":
    main()
