//! Live captures on OpenBSD. The pcap crate opens the handle, and pflow reads it.
//!
//! The crate declares a packet header with a timeval of 16 octets. OpenBSD's header has two u_int32
//! there, so the crate would read the length from the wrong place. So the crate only opens, filters
//! and counts. pflow reads packets from the descriptor with read(2), and `wire::bpf` finds them in
//! the buffer.

use std::io;

use pcap::{Active, Capture};

use super::turn::{self, BUFFER_MS, LONGEST_TURN};
use super::{Batch, Error, More, Source, group};
use crate::io::sys;
use crate::wire::bpf;
use crate::wire::link::LinkType;

// This is why the crate's reader cannot be used. If the crate's header ever fits, this file can go.
const _: () = assert!(size_of::<pcap::PacketHeader>() != 16);

/// Octets of the kernel's buffer: as many as a batch takes. The sysctl net.bpf.maxbufsize may bound
/// it to fewer.
const BUFFER_OCTETS: i32 = 1 << 20;
/// Octets of a packet to capture: the largest that IP has.
const SNAPLEN: i32 = 65535;
/// BPF_ALIGNMENT: sizeof(u_int32_t).
const ALIGNMENT: usize = 4;

/// A capture handle.
pub struct Live {
    capture: Capture<Active>,
    link: LinkType,
    /// Octets that each read must ask for.
    buffer_len: usize,
    group: Option<group::Membership>,
    dropped: [u32; 2],
}

impl Live {
    /// Opens interface `name` in promiscuous mode. Sets a filter for pfsync, if the link type has
    /// one. On Ethernet it joins pfsync's groups if `joins`.
    ///
    /// # Errors
    /// libpcap or the system refuse it.
    pub fn open(name: &str, joins: bool) -> Result<Self, Error> {
        let capture = Capture::from_device(name)?
            .promisc(true)
            .snaplen(SNAPLEN)
            .timeout(BUFFER_MS)
            .buffer_size(BUFFER_OCTETS)
            .open()?;
        let mut capture = capture.setnonblock()?;
        let link = LinkType(u32::try_from(capture.get_datalink().0).unwrap_or(u32::MAX));
        if !link.is_known() {
            let text = format!("link type {link} carries no pfsync");
            return Err(Error::Io(io::Error::other(text)));
        }
        if let Some(filter) = link.filter() {
            capture.filter(filter, true)?;
        }
        let buffer_len = sys::bpf_buffer_len(&capture)?;
        // An older system does not know the ioctl. There `turn` reads packets in time without it.
        let _ = sys::set_bpf_write_timeout(&capture, BUFFER_MS);
        let group = if joins && link == LinkType::EN10MB {
            Some(group::Membership::join(name)?)
        } else {
            None
        };
        Ok(Self {
            capture,
            link,
            buffer_len,
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

    /// Takes the present counts as zero, as the handle of other systems does. On Linux libpcap's
    /// counts go backwards without privileges.
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
    /// less.
    pub fn short_buffer(&self) -> Option<(usize, usize)> {
        let asked = usize::try_from(BUFFER_OCTETS).unwrap_or(0);
        (self.buffer_len < asked).then_some((self.buffer_len, asked))
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
        let taken = turn::take(
            LONGEST_TURN,
            |longest| sys::wait_readable(&self.capture, longest),
            || sys::read_bpf(&self.capture, self.buffer_len, &mut batch.octets),
        );
        let read = match taken {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(More::Maybe),
            Err(error) => return Err(Error::Io(error)),
        };
        let filled = batch.octets.get(..read).unwrap_or_default();
        let frames = &mut batch.frames;
        bpf::walk(filled, self.link, ALIGNMENT, &mut |frame| {
            frames.push(frame)
        })
        .map_err(Error::Bpf)?;
        self.count_dropped(batch);
        Ok(More::Maybe)
    }
}
