//! A scenario on an interface, in real time: packets go to the group, requests are answered.
//!
//! A raw socket of protocol 240 does it, with headers of our own (so that two firewalls may
//! speak), which needs root or CAP_NET_RAW. It is bound to the interface on Linux only; elsewhere
//! the interface is chosen by its address.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Outcome;
use crate::model::state::SECOND;
use crate::model::wire::{GROUP, PROTOCOL};
use crate::model::world::World;
use crate::options::Options;

/// How long to sleep at most, because requests may come.
const NAP: Duration = Duration::from_millis(1);

/// The first IPv4 address of an interface.
fn address(interface: &str) -> Result<Ipv4Addr, Box<dyn std::error::Error>> {
    let devices = pcap::Device::list()?;
    let device = devices.into_iter().find(|device| device.name == interface);
    let device = device.ok_or_else(|| format!("{interface}: no such interface"))?;
    let mut addresses = device.addresses.iter().map(|address| address.addr);
    let found = addresses.find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    found.ok_or_else(|| format!("{interface}: no IPv4 address").into())
}

fn open(interface: &str) -> Result<Socket, Box<dyn std::error::Error>> {
    let own = address(interface)?;
    let protocol = Protocol::from(i32::from(PROTOCOL));
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))?;
    socket.set_header_included_v4(true)?;
    socket.set_multicast_if_v4(&own)?;
    // a firewall does not hear itself
    socket.set_multicast_loop_v4(false)?;
    socket.join_multicast_v4(&GROUP, &own)?;
    #[cfg(target_os = "linux")]
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Runs the scenario at its speed.
#[expect(
    clippy::disallowed_methods,
    reason = "real time; the model is handed it as a number"
)]
pub(crate) fn run(world: &mut World, options: &Options, interface: &str) -> Outcome {
    let mut socket = open(interface)?;
    let to = SocketAddrV4::new(GROUP, 0).into();
    let begun = Instant::now();
    let mut buffer = vec![0; 65_536];
    let mut unsent = 0_u64;
    loop {
        let now = (begun.elapsed().as_secs_f64() * options.speed * SECOND as f64) as u64;
        if now > options.settings.seconds * SECOND {
            break;
        }
        loop {
            match socket.read(&mut buffer) {
                Ok(len) => world.inject(buffer[..len].to_vec(), now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        world.run_until(now);
        while let Some((_, packet)) = world.poll_packet() {
            if socket.send_to(&packet, &to).is_err() {
                unsent += 1;
            }
        }
        thread::sleep(NAP);
    }
    if unsent > 0 {
        eprintln!("{unsent} packets could not be sent");
    }
    Ok(())
}
