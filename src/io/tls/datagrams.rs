//! A connected UDP socket with the traits by which OpenSSL reads and writes.

use std::io::{self, Read, Write};
use std::net::UdpSocket;

/// Each read and each write is one datagram.
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
