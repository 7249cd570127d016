//! Checks of settings against each other: some settings of an interface exclude others.

use std::net::SocketAddr;

use super::Error;
use crate::export::{
    Carrier, Events, Format, MAX_BACKUPS, MAX_PINS, MIN_DTLS_MTU, Settings, TemplateSet, is_whole,
};

/// Whether sockets can be SCTP's here.
const HAS_SCTP: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

/// Refuses settings that do not go together.
///
/// # Errors
/// The word, and what it does not go with.
pub(super) fn check(settings: &Settings) -> Result<(), Error> {
    check_backups(settings)?;
    check_file(settings)?;
    check_format(settings)?;
    check_carrier(settings)?;
    check_events(settings)?;
    check_family(settings)
}

fn check_backups(settings: &Settings) -> Result<(), Error> {
    if settings.backups.len() > MAX_BACKUPS {
        let problem = format!("more than {MAX_BACKUPS} of them");
        return Err(Error::new("backup", problem));
    }
    match settings.backups.iter().find(|to| !is_whole(to)) {
        Some(wrong) => Err(Error::new(
            "backup",
            format!("{wrong} has no address or no port"),
        )),
        None => Ok(()),
    }
}

fn check_file(settings: &Settings) -> Result<(), Error> {
    if settings.file.is_some() && settings.flowdst.is_some() {
        return Err(Error::new("file", "there is a flowdst already"));
    }
    if settings.file.is_some() && settings.tap.is_some() {
        let problem = "there is a file already, which has the same messages";
        return Err(Error::new("tap", problem));
    }
    Ok(())
}

/// Whether messages of the format can be told apart where they go.
fn check_format(settings: &Settings) -> Result<(), Error> {
    let word = match settings.carrier {
        _ if settings.file.is_some() => "file",
        Carrier::Udp => return Ok(()),
        Carrier::Tcp | Carrier::Tls | Carrier::Dtls | Carrier::Sctp => "transport",
    };
    // These two keep messages apart.
    let keeps_apart = matches!(settings.carrier, Carrier::Dtls | Carrier::Sctp);
    match settings.format {
        Format::Ipfix => Ok(()),
        Format::NetFlow9 if keeps_apart && settings.file.is_none() => match settings.spool {
            Some(_) => Err(Error::new("spool", "IPFIX only (pflowproto 10)")),
            None => Ok(()),
        },
        Format::NetFlow5 if keeps_apart => {
            let problem = "not with pflowproto 5, which goes over UDP";
            Err(Error::new(word, problem))
        }
        Format::NetFlow5 | Format::NetFlow9 => {
            let problem = "IPFIX only (pflowproto 10): other messages do not tell their length";
            Err(Error::new(word, problem))
        }
    }
}

/// Datagrams go from an address to others of its family.
fn check_family(settings: &Settings) -> Result<(), Error> {
    let Some(src) = settings.flowsrc else {
        return Ok(());
    };
    let is_other = |to: &SocketAddr| to.is_ipv4() != src.address.is_ipv4();
    if settings.flowdst.as_ref().is_some_and(is_other) {
        return Err(Error::new("flowsrc", "another address family than flowdst"));
    }
    match settings.backups.iter().find(|to| is_other(to)) {
        Some(to) => Err(Error::new(
            "flowsrc",
            format!("another address family than backup {to}"),
        )),
        None => Ok(()),
    }
}

/// What has NAT events.
fn check_events(settings: &Settings) -> Result<(), Error> {
    if settings.events == Events::None {
        return Ok(());
    }
    let problem = match (settings.format, settings.templates) {
        (Format::Ipfix, TemplateSet::Full) => return Ok(()),
        (Format::Ipfix, TemplateSet::FreeBsd) => {
            "nat: needs template full; template freebsd has NAT events of its own"
        }
        (Format::Ipfix, TemplateSet::OpenBsd | TemplateSet::OpenBsd78) => {
            "nat: needs template full"
        }
        (Format::NetFlow5 | Format::NetFlow9, _) => "nat: needs pflowproto 10 and template full",
    };
    Err(Error::new("events", problem))
}

/// What a transport needs.
fn check_carrier(settings: &Settings) -> Result<(), Error> {
    let wrong = |problem: String| Err(Error::new("transport", problem));
    if settings.carrier == Carrier::Sctp && !HAS_SCTP {
        return wrong("sctp: this system has no SCTP".to_owned());
    }
    if settings.pins.len() > MAX_PINS {
        return Err(Error::new("pin", format!("more than {MAX_PINS} of them")));
    }
    if settings.cert.is_some() != settings.key.is_some() {
        return Err(Error::new("cert", "cert and key go together"));
    }
    if settings.carrier.is_secure() && settings.ca.is_none() {
        return wrong("it needs ca: whom to trust".to_owned());
    }
    if settings.carrier == Carrier::Dtls && settings.mtu < MIN_DTLS_MTU {
        return Err(Error::new(
            "mtu",
            format!("with transport dtls at least {MIN_DTLS_MTU}"),
        ));
    }
    Ok(())
}
