//! Trackers that send without measure.

use super::*;
use samara_wire::tracker::MAX_PEERS;

/// A server that goes on sending `more` behind `head` until the client hangs up: as fast as it is taken, or once in
/// each `period`.
async fn endless(head: &'static [u8], more: Vec<u8>, period: Option<Duration>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(head).await;
            let mut ticks = period.map(tokio::time::interval);
            while stream.write_all(&more).await.is_ok() {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
            }
        }
    });
    url
}

async fn fault(url: &str) -> TrackerFault {
    announce(url).await.unwrap_err().fault().clone()
}

#[tokio::test]
async fn of_a_million_peers_a_few_thousand_are_taken_or_none() {
    let compact = |n: u32| {
        let mut body = format!("d8:intervali1800e5:peers{}:", 6 * n).into_bytes();
        for i in 0..n {
            body.extend((0x0a00_0001 + i).to_be_bytes());
            body.extend(6881u16.to_be_bytes());
        }
        body.push(b'e');
        body
    };
    let most = announced(ok("", &compact(174_000))).await.unwrap();
    assert_eq!(most.peers.len(), MAX_PEERS);
    let million = compact(1_000_000);
    assert_eq!(announced(ok("", &million)).await, Err(TrackerFault::TooLarge(1 << 20)));
    let packed = ok("Content-Encoding: gzip\r\n", &gzip(&compact(200_000)));
    assert_eq!(announced(packed).await, Err(TrackerFault::TooLarge(1 << 20)));
    // As dictionaries, of which more fit than are read.
    let dictionaries = "d4:porti1e2:ip7:1.2.3.4e".repeat(40_000);
    let body = format!("d8:intervali60e5:peersl{dictionaries}ee");
    let refused = announced(ok("", body.as_bytes())).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
}

#[tokio::test]
async fn endless_heads_and_chunks_come_to_an_end() {
    let heads = endless(b"HTTP/1.1 200 OK\r\n", vec![b'x'; 4096], None).await;
    assert!(matches!(fault(&heads).await, TrackerFault::Unreachable(_)));
    let names = endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n".repeat(500), None).await;
    assert!(matches!(fault(&names).await, TrackerFault::Unreachable(_)));
    let chunks = endless(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        [&b"1000\r\n"[..], &[b'd'; 4096], b"\r\n"].concat().repeat(8),
        None,
    );
    assert_eq!(fault(&chunks.await).await, TrackerFault::TooLarge(1 << 20));
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_is_silence() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nd8:interval";
    let drips = endless(head, b"1".to_vec(), Some(Duration::from_secs(1))).await;
    let begin = tokio::time::Instant::now();
    assert_eq!(fault(&drips).await, TrackerFault::Timeout(TIME));
    assert!(begin.elapsed() < TIME + Duration::from_secs(2));
}

#[tokio::test]
async fn a_chain_of_redirects_is_cut_however_it_is_linked() {
    let hops = Arc::new(AtomicUsize::new(0));
    let counter = hops.clone();
    let (addr, _) = serve(move |_| {
        let n = counter.fetch_add(1, Ordering::Relaxed);
        redirect(&format!("/announce{n}?{n}"))
    })
    .await;
    assert_eq!(fault(&format!("http://{addr}/announce")).await, TrackerFault::Redirects);
    assert_eq!(hops.load(Ordering::Relaxed), 6, "the first and five more");
}
