//! Many datagrams a call, on Linux.

use std::io::{self, IoSlice};
use std::net::UdpSocket;

use super::icmp::is_report;
use crate::io::sys;

/// Most datagrams in a message that the kernel cuts (UDP_MAX_SEGMENTS of older kernels).
const MAX_SEGMENTS: usize = 64;
/// Most octets in one: what an IP packet holds, less room for its headers.
const MAX_OCTETS: usize = 65_000;

/// How datagrams of one length go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// Each as a message of its own.
    OneByOne,
    /// In messages that the kernel cuts, if it does.
    Together,
}

/// Sends as many datagrams a call as go.
#[derive(Debug)]
pub(super) struct Batcher {
    /// Whether the kernel cuts messages, as far as is known.
    is_cutting: bool,
}

impl Batcher {
    pub(super) fn new(socket: &UdpSocket) -> Self {
        Self {
            is_cutting: sys::can_cut(socket),
        }
    }

    /// See [`super::Udp::forbid_cutting`].
    pub(super) fn forbid_cutting(&mut self) {
        self.is_cutting = false;
    }

    /// See [`super::Transport::send`].
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        datagrams: &[&[u8]],
        way: Way,
    ) -> io::Result<usize> {
        let Some(first) = datagrams.first() else {
            return Ok(0);
        };
        let slices: Vec<IoSlice<'_>> = datagrams
            .iter()
            .map(|datagram| IoSlice::new(datagram))
            .collect();
        let mut runs: Vec<&[IoSlice<'_>]> = Vec::with_capacity(sys::MAX_RUNS);
        let mut rest = &slices[..];
        while !rest.is_empty() && runs.len() < sys::MAX_RUNS {
            let (run, others) = rest.split_at(self.run_len(rest, way));
            runs.push(run);
            rest = others;
        }
        let is_cut = runs.first().is_some_and(|run| run.len() > 1);
        match sys::send_runs(socket, &runs) {
            Ok(sent) => Ok(runs.iter().take(sent).map(|run| run.len()).sum()),
            // It was refused as a whole: what each is worth shows when they go one by one.
            Err(error) if is_cut && !is_report(&error) => {
                self.is_cutting &= !is_refusal(&error);
                socket.send(first).map(|_| 1)
            }
            Err(error) => Err(error),
        }
    }

    /// How many of the first datagrams go as one message.
    fn run_len(&self, datagrams: &[IoSlice<'_>], way: Way) -> usize {
        let Some((first, others)) = datagrams.split_first() else {
            return 0;
        };
        if !self.is_cutting || way == Way::OneByOne {
            return 1;
        }
        let mut octets = first.len();
        let mut count = 1;
        for next in others {
            octets += next.len();
            if next.len() > first.len() || octets > MAX_OCTETS || count == MAX_SEGMENTS {
                break;
            }
            count += 1;
            if next.len() < first.len() {
                break;
            }
        }
        count
    }
}

/// Whether the kernel does not cut for this collector: a datagram is larger than the interface's mtu,
/// or there are no checksums to leave to it (net/ipv4/udp.c, `udp_send_skb`).
fn is_refusal(error: &io::Error) -> bool {
    let refusals = [libc::EINVAL, libc::EIO, libc::EMSGSIZE, libc::EOPNOTSUPP];
    error
        .raw_os_error()
        .is_some_and(|number| refusals.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connected(sink: &UdpSocket) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(sink.local_addr().unwrap()).unwrap();
        socket
    }

    fn runs(lens: &[usize]) -> Vec<usize> {
        let octets = vec![0; 2048];
        let slices: Vec<_> = lens
            .iter()
            .map(|len| IoSlice::new(&octets[..*len]))
            .collect();
        let batcher = Batcher { is_cutting: true };
        let mut rest = &slices[..];
        let mut runs = Vec::new();
        while !rest.is_empty() {
            let len = batcher.run_len(rest, Way::Together);
            runs.push(len);
            rest = &rest[len..];
        }
        runs
    }

    #[test]
    fn a_run_is_of_one_length_and_may_end_with_a_shorter_one() {
        assert_eq!(runs(&[9, 9, 9, 5, 9]), [4, 1]);
        assert_eq!(runs(&[5, 9, 7, 7]), [1, 2, 1]);
        assert_eq!(runs(&[1464; 90]), [44, 44, 2]);
        assert_eq!(runs(&[10; 130]), [64, 64, 2]);
    }

    #[test]
    fn datagrams_of_all_lengths_arrive_as_they_were_in_their_order() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = connected(&sink);
        let lens = [700, 700, 700, 20, 1400, 90, 91, 91, 91];
        let sent: Vec<Vec<u8>> = (0..).zip(lens).map(|(n, len)| vec![n; len]).collect();
        for is_cutting in [false, sys::can_cut(&socket)] {
            let mut batcher = Batcher { is_cutting };
            let datagrams: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
            let mut rest = &datagrams[..];
            while !rest.is_empty() {
                let count = batcher.send(&socket, rest, Way::Together);
                rest = &rest[count.unwrap()..];
            }
            for datagram in &sent {
                let mut buffer = [0; 2048];
                let (len, _) = sink.recv_from(&mut buffer).unwrap();
                assert_eq!(&buffer[..len], datagram);
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_fails_one_by_one_and_what_can_goes() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = connected(&sink);
        let mut batcher = Batcher::new(&socket);
        let (huge, small) = (vec![0; 65_530], vec![1; 10]);
        let datagrams: [&[u8]; 4] = [&huge, &huge, &small, &small];
        assert!(batcher.send(&socket, &datagrams, Way::Together).is_err());
        assert!(
            batcher
                .send(&socket, &datagrams[1..], Way::Together)
                .is_err()
        );
        let mut rest = &datagrams[2..];
        while !rest.is_empty() {
            rest = &rest[batcher.send(&socket, rest, Way::Together).unwrap()..];
        }
        let mut buffer = [0; 64];
        assert_eq!(sink.recv(&mut buffer).unwrap(), 10);
        assert_eq!(sink.recv(&mut buffer).unwrap(), 10);
    }

    #[test]
    fn where_the_kernel_does_not_cut_datagrams_still_go() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = connected(&sink);
        sys::forbid_checksums(&socket).unwrap();
        let mut batcher = Batcher::new(&socket);
        let datagrams = [&[1_u8; 100][..]; 3];
        let mut rest = &datagrams[..];
        while !rest.is_empty() {
            let count = batcher.send(&socket, rest, Way::Together);
            rest = &rest[count.unwrap()..];
        }
        assert!(!batcher.is_cutting);
        for _ in datagrams {
            let mut buffer = [0; 2048];
            assert_eq!(sink.recv(&mut buffer).unwrap(), 100);
        }
    }
}
