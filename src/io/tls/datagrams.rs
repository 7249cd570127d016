//! A connected UDP socket as OpenSSL wants what it reads from and writes to.

use std::io::{self, Read, Write};
use std::net::UdpSocket;

/// A datagram a read and a write.
#[derive(Debug)]
pub struct Datagrams(pub UdpSocket);

impl Read for Datagrams {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.recv(room)
    }
}

impl Write for Datagrams {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.send(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
