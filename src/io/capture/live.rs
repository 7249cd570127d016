//! Live captures by the pcap crate, on every system but OpenBSD (see live_bpf.rs).
//!
//! The captures do not use libpcap's immediate mode. So the kernel hands over whole buffers, a few
//! milliseconds late. That costs 40 to 140 ns a packet; immediate mode costs 1600 ns (measured on
//! Linux).
//!
//! The handle does not block, and the thread waits in poll(2). The reason: on Linux libpcap's own
//! timeout never ends a read without packets.

use std::io;

use pcap::{Active, Capture, Precision};

use super::turn::{BUFFER_MS, LONGEST_TURN};
use super::{Batch, Error, More, Source, group};
use crate::io::sys;
use crate::time::Wall;
use crate::wire::link::LinkType;
use crate::wire::savefile::Frame;

/// Octets of the kernel's buffer. On Linux libpcap divides the buffer into blocks of
/// [`BLOCK_OCTETS`] (TPACKET_V3). The kernel hands a block over when it is full or [`BUFFER_MS`]
/// old, however little is in it. So 144 blocks hold 5.7 s of packets, unless the packets fill the
/// blocks sooner.
const BUFFER_OCTETS: i32 = if cfg!(target_os = "linux") {
    144 * BLOCK_OCTETS
} else {
    8 << 20
};
/// Octets of a block: libpcap's MAXIMUM_SNAPLEN.
const BLOCK_OCTETS: i32 = 256 << 10;
// If nobody reads, the buffer holds 5 s of up to 2000 packets a second. A packet of 1500 octets
// takes 100 more for its headers.
const _: () = {
    let blocks = BUFFER_OCTETS / BLOCK_OCTETS;
    let packets = 2000 * BUFFER_MS / 1000;
    assert!(!cfg!(target_os = "linux") || blocks * BUFFER_MS >= 5500);
    assert!(packets * (1500 + 100) < BLOCK_OCTETS);
};
/// Octets of a packet to capture: the largest that IP has.
const SNAPLEN: i32 = 65535;
/// Most packets in a batch.
const MAX_FRAMES: usize = 4096;

/// A capture handle.
pub struct Live {
    capture: Capture<Active>,
    link: LinkType,
    is_nanoseconds: bool,
    /// Keeps the host in the multicast group.
    group: Option<group::Membership>,
    /// The kernel's last counts. They have 32 bits.
    dropped: [u32; 2],
}

impl Live {
    /// Opens interface `name` in promiscuous mode. Sets a filter for pfsync, if the link type has
    /// one. On Ethernet it joins pfsync's multicast groups if `joins`.
    ///
    /// # Errors
    /// libpcap or the system refuse it.
    pub fn open(name: &str, joins: bool) -> Result<Self, Error> {
        let open = |precision| {
            Capture::from_device(name)?
                .promisc(true)
                .snaplen(SNAPLEN)
                .timeout(BUFFER_MS)
                .buffer_size(BUFFER_OCTETS)
                .precision(precision)
                .open()
        };
        // Not every system stamps in nanoseconds.
        let (capture, is_nanoseconds) = match open(Precision::Nano) {
            Ok(capture) => (capture, true),
            Err(_) => (open(Precision::Micro)?, false),
        };
        let mut capture = capture.setnonblock()?;
        let link = LinkType(u32::try_from(capture.get_datalink().0).unwrap_or(u32::MAX));
        if !link.is_known() {
            let text = format!("link type {link} carries no pfsync");
            return Err(Error::Io(io::Error::other(text)));
        }
        if let Some(filter) = link.filter() {
            capture.filter(filter, true)?;
        }
        let group = if joins && link == LinkType::EN10MB {
            Some(group::Membership::join(name)?)
        } else {
            None
        };
        Ok(Self {
            capture,
            link,
            is_nanoseconds,
            group,
            dropped: [0; 2],
        })
    }

    /// Prepares the handle for the loss of privileges. [`Self::confined`] must be called after the
    /// loss.
    ///
    /// # Errors
    /// The system refuses to limit the descriptor.
    pub fn confine(&self) -> io::Result<()> {
        #[cfg(target_os = "freebsd")]
        sys::limit_capture(&self.capture)?;
        Ok(())
    }

    /// Takes the present counts as zero. On Linux libpcap adds counts from files below /sys. It
    /// cannot read these files without privileges, so its counts then go backwards.
    pub fn confined(&mut self) {
        if let Ok(stats) = self.capture.stats() {
            self.dropped = [stats.dropped, stats.if_dropped];
        }
    }

    /// Why the multicast group could not be joined, if it could not.
    pub fn join_problem(&self) -> Option<&io::Error> {
        self.group.as_ref()?.problem.as_ref()
    }

    /// The octets of the kernel's buffer and the octets that were asked for, if the system gave
    /// less. On the BSDs the sysctl net.bpf.maxbufsize is the bound. Linux gives all or refuses.
    #[cfg(not(target_os = "linux"))]
    pub fn short_buffer(&self) -> Option<(usize, usize)> {
        let asked = usize::try_from(BUFFER_OCTETS).unwrap_or(0);
        let given = sys::bpf_buffer_len(&self.capture).ok()?;
        (given < asked).then_some((given, asked))
    }

    /// The link type of the captured frames.
    pub fn link(&self) -> LinkType {
        self.link
    }

    fn count_dropped(&mut self, batch: &mut Batch) {
        let Ok(stats) = self.capture.stats() else {
            return;
        };
        let [kernel, interface] = self.dropped;
        batch.counters.kernel_dropped += u64::from(stats.dropped.wrapping_sub(kernel));
        batch.counters.interface_dropped += u64::from(stats.if_dropped.wrapping_sub(interface));
        self.dropped = [stats.dropped, stats.if_dropped];
    }
}

impl Source for Live {
    fn read(&mut self, batch: &mut Batch) -> Result<More, Error> {
        // The read follows whatever the wait says; `turn` tells why.
        sys::wait_readable(&self.capture, LONGEST_TURN)?;
        let mut used = 0;
        while batch.frames.len() < MAX_FRAMES {
            let packet = match self.capture.next_packet() {
                Ok(packet) => packet,
                Err(pcap::Error::TimeoutExpired) => break,
                Err(pcap::Error::NoMorePackets) => return Ok(More::No),
                Err(error) => return Err(Error::Pcap(error)),
            };
            let Some(room) = batch.octets.get_mut(used..used + packet.data.len()) else {
                break;
            };
            room.copy_from_slice(packet.data);
            let scale = if self.is_nanoseconds { 1 } else { 1000 };
            let header = packet.header;
            #[allow(clippy::useless_conversion, reason = "narrower on some systems")]
            let (secs, fraction) = (i64::from(header.ts.tv_sec), i64::from(header.ts.tv_usec));
            let nanos = u32::try_from(fraction.saturating_mul(scale)).unwrap_or(0);
            batch.frames.push(Frame {
                stamp: Wall::new(secs, nanos),
                link: self.link,
                start: used,
                captured: packet.data.len(),
                wire_len: usize::try_from(header.len).unwrap_or(usize::MAX),
            });
            used += packet.data.len();
            if batch.octets.len() - used < usize::try_from(SNAPLEN).unwrap_or(0) {
                break;
            }
        }
        self.count_dropped(batch);
        Ok(More::Maybe)
    }
}
