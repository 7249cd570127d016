//! Checks of the child's requests against the configuration that the parent read itself.

use std::net::SocketAddr;

use crate::config::Config;
use crate::export::{Carrier, Rdomain, Settings};
use crate::io::transport::source_address;
use crate::run::collectors::security;

/// Only root may bind a port below this (IPPORT_RESERVED of netinet/in.h).
const RESERVED: u16 = 1024;

pub(super) fn check_tap(config: &Config, name: &str) -> Result<(), String> {
    match config.taps().any(|(_, tap)| tap == name) {
        true => Ok(()),
        false => Err("only files that the configuration names can be opened".to_owned()),
    }
}

pub(super) fn check_solicit(config: &Config, name: &str) -> Result<(), String> {
    match config.solicit.interface.as_deref() == Some(name) {
        true => Ok(()),
        false => Err("only where the configuration's files solicit can it be done".to_owned()),
    }
}

pub(super) fn check_pem(config: &Config, file: &str) -> Result<(), String> {
    let mut files = config.interfaces.values().flat_map(security::files_of);
    match files.any(|(_, named)| named == file) {
        true => Ok(()),
        false => Err("only files that the configuration's files name can be read".to_owned()),
    }
}

/// A connection may go to a collector of an interface that uses connections. It must use that
/// interface's routing domain.
pub(super) fn check_collector<'a>(
    config: &'a Config,
    carrier: Option<&str>,
    to: Option<&str>,
    rdomain: Option<&str>,
) -> Result<(SocketAddr, &'a Settings), String> {
    let to: SocketAddr = to.and_then(|to| to.parse().ok()).ok_or("not an address")?;
    let named = config.interfaces.values().filter(|settings| {
        let is_named = settings.flowdst == Some(to) || settings.backups.contains(&to);
        let is_same = Some(settings.carrier.name()) == carrier;
        is_same && settings.carrier != Carrier::Udp && is_named
    });
    let is_same = |settings: &&Settings| {
        let own = settings.rdomain.as_ref().map(ToString::to_string);
        own.as_deref() == rdomain
    };
    let mut named = named.peekable();
    if named.peek().is_none() {
        return Err(
            "only a collector that the configuration's files name can be connected to".to_owned(),
        );
    }
    match named.find(is_same) {
        Some(settings) => Ok((to, settings)),
        None => Err("only by the rdomain of the configuration's files".to_owned()),
    }
}

/// A socket may use a routing domain that the configuration names.
pub(super) fn check_rdomain<'a>(
    config: &'a Config,
    rdomain: Option<&str>,
) -> Result<Option<&'a Rdomain>, String> {
    let Some(rdomain) = rdomain else {
        return Ok(None);
    };
    let named = config.interfaces.values();
    let mut named = named.filter_map(|settings| settings.rdomain.as_ref());
    match named.find(|named| named.to_string() == rdomain) {
        Some(named) => Ok(Some(named)),
        None => Err(format!(
            "only an rdomain that the configuration's files name can be used, not {rdomain}"
        )),
    }
}

/// A UDP socket may be bound to any port that needs no rights. It may be bound to a port below 1024
/// only if that is a flowsrc of the configuration.
pub(super) fn check_source(config: &Config, address: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = address.parse().map_err(|_| "not an address")?;
    let mut sources = config
        .interfaces
        .values()
        .filter_map(|settings| settings.flowsrc);
    let is_anybodys = address.port() == 0 || address.port() >= RESERVED;
    let is = |source| source_address(Some(source), address.is_ipv6()) == address;
    match is_anybodys || sources.any(is) {
        true => Ok(address),
        false => Err("only a port below 1024 that the configuration names can be bound".to_owned()),
    }
}
