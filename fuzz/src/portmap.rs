//! What gateways, and whoever answers in their place, say about port mapping.

use samara_wire::portmap::igd::{Action, Description, MAX_DOCUMENT, MAX_SERVICES};
use samara_wire::portmap::pcp::MapAnswer;
use samara_wire::portmap::{GatewayUrl, Protocol, natpmp, ssdp};

/// Reads `input` as an answer of each protocol.
pub fn answers(input: &[u8]) {
    if let Ok(answer) = MapAnswer::parse(input) {
        assert!(input.len() >= 60 && answer.external_ip == answer.external_ip.to_canonical());
        assert!(natpmp::Answer::parse(input).is_err(), "an answer is of one version");
    }
    // Whatever it is, it came to an end.
    let _ = natpmp::Answer::parse(input);
    if let Ok(url) = ssdp::parse_answer(input) {
        usable(&url);
    }
}

/// Reads `input` as a description, and as the answer to each action.
pub fn documents(input: &[u8]) {
    let here = GatewayUrl::parse("http://192.168.1.1:5000/dir/description.xml").ok();
    if let Ok(description) = Description::parse(input) {
        assert!(input.len() <= MAX_DOCUMENT);
        assert!((1..=MAX_SERVICES).contains(&description.services.len()));
        for service in &description.services {
            let url = here.as_ref().and_then(|here| here.join(&service.control).ok());
            url.iter().for_each(usable);
        }
    }
    let delete = Action::DeletePortMapping { protocol: Protocol::Tcp, external_port: 1 };
    for action in [Action::GetExternalAddress, delete] {
        if let Ok(Some(ip)) = action.parse_answer(true, input) {
            assert!(!ip.is_unspecified() && action == Action::GetExternalAddress);
        }
        assert!(action.parse_answer(false, input).is_err());
    }
}

/// It can be sent, and means the same to who reads it again.
fn usable(url: &GatewayUrl) {
    assert!(url.addr().port() != 0 && url.path().starts_with('/'));
    assert!(url.path().bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(GatewayUrl::parse(&url.to_string()).as_ref(), Ok(url));
}
