//! Gateways of the tests' own, good and bad, on loopback.

use super::*;
use crate::network::Subnet;
use samara_wire::portmap::GatewayUrl;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

const PORT: u16 = 6881;
const NONCES: [Nonce; 2] = [*b"for tcp 1234", *b"for udp 1234"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn place(gateway: SocketAddr) -> Place {
    let source = ip("127.0.0.1").into();
    Place { source, gateway, subnet: Subnet::new(ip("127.0.0.1"), 8) }
}

/// A gateway that gives what `answer` makes of each datagram.
async fn gateway(mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            for datagram in answer(&buffer[..len]) {
                socket.send_to(&datagram, from).await.unwrap();
            }
        }
    });
    addr
}

/// The answer of an honest gateway to a request of PCP, with this port outside.
fn pcp(request: &[u8], outer: u16) -> Vec<u8> {
    let mut out = request.to_vec();
    out[1] |= 0x80;
    out[8..24].fill(0);
    out[42..44].copy_from_slice(&outer.to_be_bytes());
    out[54..60].copy_from_slice(&[255, 255, 203, 0, 113, 9]);
    out
}

fn number(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

async fn ask(gateway: SocketAddr) -> Result<Held, Trouble> {
    let (place, heard) = (place(gateway), Cell::new(false));
    Line::open(&place, &heard).unwrap().map(PORT, NONCES).await
}

#[tokio::test]
async fn pcp_gives_one_port_for_both_and_forged_answers_do_not_count() {
    let addr = gateway(|request| {
        let mut other = pcp(request, 1);
        other[24] ^= 1;
        let mut wrong_port = pcp(request, 2);
        wrong_port[41] ^= 1;
        let junk = vec![2, 0x81, 0, 0];
        vec![vec![], junk, other, wrong_port, pcp(request, number(&request[42..44]))]
    })
    .await;
    let held = ask(addr).await.unwrap();
    assert_eq!((held.protocol, held.external_port), (MappingProtocol::Pcp, PORT));
    assert_eq!(held.external_ip, Some(ip("203.0.113.9")));
    assert_eq!(held.lifetime, Duration::from_secs(3600));
}

#[tokio::test]
async fn where_tcp_and_udp_get_different_ports_it_is_asked_again_for_one() {
    let removed = Arc::new(Mutex::new(0));
    let count = Arc::clone(&removed);
    let addr = gateway(move |request| {
        let (is_udp, wanted) = (request[36] == 17, number(&request[42..44]));
        if request[4..8] == [0; 4] {
            *count.lock().unwrap() += 1;
        }
        // Somebody else has this port for UDP.
        let given = if is_udp && wanted == PORT { PORT + 1 } else { wanted };
        vec![pcp(request, given)]
    })
    .await;
    assert_eq!(ask(addr).await.unwrap().external_port, PORT + 1);
    assert_eq!(*removed.lock().unwrap(), 2, "the first two were taken back");
}

#[tokio::test]
async fn a_gateway_of_nat_pmp_is_asked_in_its_own_words() {
    let addr = gateway(|request| match *request {
        [2, ..] => vec![vec![0, 0x81, 0, 1, 0, 0, 0, 9]],
        [0, 0] => vec![vec![0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 9]],
        [0, op @ (1 | 2), _, _, a, b, ..] => {
            vec![vec![0, 128 | op, 0, 0, 0, 0, 0, 9, a, b, 0x1b, 0x58, 0, 0, 0, 120]]
        }
        _ => vec![],
    })
    .await;
    let held = ask(addr).await.unwrap();
    assert_eq!((held.protocol, held.external_port), (MappingProtocol::NatPmp, 7000));
    assert_eq!((held.external_ip, held.lifetime.as_secs()), (Some(ip("203.0.113.9")), 120));
}

#[tokio::test]
async fn refusals_and_nonsense_are_no_mappings() {
    let refusing = gateway(|request| {
        let mut out = pcp(request, 0);
        out[3] = 2;
        vec![out]
    })
    .await;
    let said = ask(refusing).await.unwrap_err().to_string();
    assert_eq!(said, "port mapping is not allowed (PCP result 2)");
    let nothing = gateway(|request| vec![pcp(request, 0)]).await;
    assert!(matches!(ask(nothing).await, Err(Trouble::Nonsense)));
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(matches!(ask(gone).await, Err(Trouble::Unreachable(_))));
}

/// A web server that gives what `answer` makes of the head and body of each request, and notes their first lines and actions.
async fn server(
    answer: impl Fn(&str) -> String + Send + 'static,
) -> (GatewayUrl, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/root.xml", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            let mut buffer = [0; 4096];
            let is_whole = |text: &str| {
                let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
                let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                body.len() >= len.map_or(0, |len| len.parse().unwrap())
            };
            while !is_whole(&request) {
                let len = stream.read(&mut buffer).await.unwrap();
                assert_ne!(len, 0, "cut off: {request}");
                request.push_str(std::str::from_utf8(&buffer[..len]).unwrap());
            }
            notes.lock().unwrap().push(request.clone());
            // A client that has heard enough hangs up.
            let _ = stream.write_all(answer(&request).as_bytes()).await;
        }
    });
    (GatewayUrl::parse(&url).unwrap(), seen)
}

fn reply(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn description(control: &str) -> String {
    let service = format!(
        "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
         <controlURL>{control}</controlURL></service>"
    );
    reply("200 OK", &service)
}

fn done(action: &str, inside: &str) -> String {
    reply("200 OK", &format!("<u:{action}Response>{inside}</u:{action}Response>"))
}

fn refusal(code: u16) -> String {
    reply("500 Internal Server Error", &format!("<errorCode>{code}</errorCode>"))
}

const ADDRESS: &str = "<NewExternalIPAddress>203.0.113.9</NewExternalIPAddress>";

async fn upnp(url: &GatewayUrl) -> Result<Held, Trouble> {
    let place = place("127.0.0.1:1".parse().unwrap());
    igd::map(&place, std::slice::from_ref(url), PORT, &Cell::new(false)).await
}

#[tokio::test]
async fn upnp_maps_both_elsewhere_if_the_port_is_taken_and_for_ever_if_it_must() {
    let (url, seen) = server(|request| {
        let has = |text: &str| request.contains(text);
        match () {
            () if request.starts_with("GET /root.xml ") => description("ctl"),
            () if has("#GetExternalIPAddress") => done("GetExternalIPAddress", ADDRESS),
            () if has("#DeletePortMapping") => done("DeletePortMapping", ""),
            () if !has("<NewLeaseDuration>0<") => refusal(725),
            () if has("<NewExternalPort>6881<") && has(">UDP<") => refusal(718),
            () => done("AddPortMapping", ""),
        }
    })
    .await;
    let held = upnp(&url).await.unwrap();
    assert_eq!(held.external_ip, Some(ip("203.0.113.9")));
    assert!(held.external_port >= 49152, "{}", held.external_port);
    assert_eq!(held.lifetime, Duration::from_secs(3600), "it is renewed all the same");
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|request| !request.contains("NewInternalClient")
        || request.contains("<NewInternalClient>127.0.0.1</NewInternalClient>")));
    let undone = seen.iter().filter(|request| request.contains("#DeletePortMapping"));
    assert_eq!(undone.count(), 1, "the half that was had");
}

#[tokio::test]
async fn descriptions_that_lead_elsewhere_or_never_end_lead_to_nothing() {
    let (elsewhere, asked) = server(|_| done("GetExternalIPAddress", ADDRESS)).await;
    let stranger = elsewhere.addr().port();
    // Another address of the same machine, as a stranger would be another machine.
    let (url, _) = server(move |_| description(&format!("http://127.0.0.2:{stranger}/ctl"))).await;
    assert!(matches!(upnp(&url).await, Err(Trouble::Nonsense)));
    let to = elsewhere.to_string();
    let (url, _) = server(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
    })
    .await;
    assert!(matches!(upnp(&url).await, Err(Trouble::Nonsense)), "no redirect is followed");
    assert!(asked.lock().unwrap().is_empty(), "nobody else was asked");
    let (url, _) = server(|_| reply("200 OK", &"<service>".repeat(10_000))).await;
    assert!(matches!(upnp(&url).await, Err(Trouble::Nonsense)), "too long");
    let (url, _) = server(|_| "no HTTP\r\n\r\n".to_owned()).await;
    assert!(matches!(upnp(&url).await, Err(Trouble::Unreachable(_))));
}

/// What a device at 127.0.0.1 that answers every search with `location` is taken for by us at 127.0.0.2.
#[cfg(target_os = "linux")]
async fn searched(location: &'static str) -> Option<String> {
    let addr = gateway(move |search| {
        assert!(search.starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
        let kind = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
        vec![format!("HTTP/1.1 200 OK\r\nST: {kind}\r\nLocation: {location}\r\n\r\n").into_bytes()]
    })
    .await;
    let gateway = "127.0.0.3:5351".parse().unwrap();
    let place = Place { source: ip("127.0.0.2").into(), ..place(gateway) };
    let found = igd::search(&place, addr).await;
    found.ok().map(|urls| urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_search_finds_who_speaks_of_itself_or_of_the_gateway() {
    let itself = searched("http://127.0.0.1:5000/d.xml").await;
    assert_eq!(itself.as_deref(), Some("http://127.0.0.1:5000/d.xml"));
    let gateway = searched("http://127.0.0.3:5000/d.xml").await;
    assert_eq!(gateway.as_deref(), Some("http://127.0.0.3:5000/d.xml"));
    for bad in
        ["http://127.0.0.9/", "http://169.254.169.254/latest", "http://127.0.0.2/", "file:///x"]
    {
        assert_eq!(searched(bad).await, None, "{bad}");
    }
}

#[test]
fn an_address_that_is_none_of_the_internet_is_seen_for_what_it_is() {
    let behind = |external: &str| {
        let mapping = PortMapping {
            protocol: MappingProtocol::Pcp,
            gateway: ip("192.168.1.1"),
            external_ip: Some(ip(external)),
            external_port: PORT,
        };
        mapping.is_behind_another_nat()
    };
    assert!(behind("10.0.0.5") && behind("100.64.3.4") && !behind("203.0.113.9"));
}
