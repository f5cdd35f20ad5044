use super::*;
use alloc::borrow::ToOwned;
use alloc::string::ToString;

const DESCRIPTION: &str = r#"<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><URLBase>http://192.168.1.1:5000/</URLBase>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<friendlyName>R&amp;D</friendlyName>
<serviceList><service><serviceType>urn:schemas-upnp-org:service:Layer3Forwarding:1</serviceType>
<controlURL>/ctl/L3F</controlURL></service></serviceList>
<deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANPPPConnection:1</serviceType>
<serviceId>urn:upnp-org:serviceId:WANPPPConn1</serviceId><SCPDURL>/ppp.xml</SCPDURL>
<controlURL>ctl/PPP</controlURL><eventSubURL>/evt/PPP</eventSubURL></service>
<service><controlURL>/ctl/IPConn</controlURL><eventSubURL></eventSubURL>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType></service>
</serviceList></device></deviceList></device></root>"#;

fn added() -> Action<'static> {
    Action::AddPortMapping {
        protocol: Protocol::Udp,
        external_port: 6882,
        internal: (Ipv4Addr::new(192, 168, 1, 2), 6881),
        lease: 3600,
        description: "samara",
    }
}

#[test]
fn the_services_that_map_ports_are_found() {
    let read = Description::parse(DESCRIPTION.as_bytes()).unwrap();
    assert_eq!(read.base.as_deref(), Some("http://192.168.1.1:5000/"));
    let service = |kind, control: &str| Service { kind, control: control.to_owned() };
    let want = [service(ServiceKind::Ppp, "ctl/PPP"), service(ServiceKind::Ip(2), "/ctl/IPConn")];
    assert_eq!(read.services, want);
}

#[test]
fn descriptions_without_and_with_too_much_are_bounded() {
    let no_service = |text: &str| Description::parse(text.as_bytes());
    assert_eq!(no_service(""), Err(IgdError::NoService));
    assert_eq!(no_service("<service><serviceType>x</serviceType>"), Err(IgdError::NoService));
    let other = DESCRIPTION.replace("WAN", "LAN");
    assert_eq!(no_service(&other), Err(IgdError::NoService));
    let long = " ".repeat(MAX_DOCUMENT + 1);
    assert_eq!(no_service(&long), Err(IgdError::TooLong));
    let service = "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
                   <controlURL>/c</controlURL></service>";
    let many = Description::parse(service.repeat(100).as_bytes()).unwrap();
    assert_eq!(many.services.len(), MAX_SERVICES);
    // The two halves of a service do not come together across services.
    let halves = "<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType></service>\
                  <service><controlURL>/c</controlURL></service>";
    assert_eq!(no_service(halves), Err(IgdError::NoService));
}

#[test]
fn actions_are_written_as_gateways_expect_them() {
    let body = added().body(ServiceKind::Ip(1));
    for part in [
        "<u:AddPortMapping xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\"><NewRemoteHost></NewRemoteHost>",
        "<NewExternalPort>6882</NewExternalPort><NewProtocol>UDP</NewProtocol><NewInternalPort>6881</NewInternalPort>",
        "<NewInternalClient>192.168.1.2</NewInternalClient><NewEnabled>1</NewEnabled>",
        "<NewLeaseDuration>3600</NewLeaseDuration></u:AddPortMapping>",
    ] {
        assert!(body.contains(part), "{body}");
    }
    let removed = Action::DeletePortMapping { protocol: Protocol::Tcp, external_port: 9 };
    let body = removed.body(ServiceKind::Ppp);
    assert!(
        body.contains(
            "<NewExternalPort>9</NewExternalPort><NewProtocol>TCP</NewProtocol></u:Delete"
        )
    );
}

#[test]
fn answers_and_refusals_are_told_apart() {
    let asked = Action::GetExternalAddress;
    let answer = |ip: &str| {
        let text = format!(
            "<s:Envelope><s:Body><u:GetExternalIPAddressResponse xmlns:u=\"x\">\
             <NewExternalIPAddress>{ip}</NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>"
        );
        asked.parse_answer(true, text.as_bytes())
    };
    assert_eq!(answer("203.0.113.9"), Ok(Some("203.0.113.9".parse().unwrap())));
    for none in ["", "0.0.0.0", "router"] {
        assert_eq!(answer(none), Ok(None), "{none:?}");
    }
    let done = "<u:AddPortMappingResponse/>";
    assert_eq!(added().parse_answer(true, done.as_bytes()), Ok(None));
    assert_eq!(added().parse_answer(false, done.as_bytes()), Err(IgdError::NotAnAnswer));
    assert_eq!(asked.parse_answer(true, done.as_bytes()), Err(IgdError::NotAnAnswer));
    assert_eq!(added().parse_answer(true, b"<html>"), Err(IgdError::NotAnAnswer));
    let refusal = |code: &str| {
        let text = format!(
            "<s:Fault><detail><UPnPError><errorCode>{code}</errorCode>\
             <errorDescription>ConflictInMappingEntry</errorDescription></UPnPError></detail></s:Fault>"
        );
        added().parse_answer(false, text.as_bytes()).unwrap_err()
    };
    assert!(refusal("718").is_conflict() && !refusal("718").wants_permanent());
    assert!(refusal("725").wants_permanent() && !refusal("725").is_conflict());
    assert_eq!(refusal("718").to_string(), "ConflictInMappingEntry (UPnP error 718)");
    assert_eq!(refusal("x"), IgdError::NotAnAnswer);
}
