//! Live captures on OpenBSD: the pcap crate opens the handle, we read it.
//!
//! The crate declares a packet header with a 16-octet timeval where OpenBSD's has two u_int32, so
//! that it would take the length from the wrong place. Here it only opens, filters and counts;
//! packets are read(2) from its descriptor and walked by `wire::bpf`.

use std::io;

use pcap::{Active, Capture};

use super::turn::{self, BUFFER_MS, LONGEST_TURN};
use super::{Batch, Error, More, Source, group};
use crate::io::sys;
use crate::wire::bpf;
use crate::wire::link::LinkType;

// What makes the crate's reader unusable here; should its header ever fit, this file can go.
const _: () = assert!(size_of::<pcap::PacketHeader>() != 16);

/// Kernel buffer, octets: what a batch takes. The system gives less where its sysctl
/// net.bpf.maxbufsize is less.
const BUFFER_OCTETS: i32 = 1 << 20;
/// Octets of a packet to capture: the largest that IP has.
const SNAPLEN: i32 = 65535;
/// BPF_ALIGNMENT: sizeof(u_int32_t).
const ALIGNMENT: usize = 4;

/// A capture handle.
pub struct Live {
    capture: Capture<Active>,
    link: LinkType,
    /// What each read must ask for, octets.
    buffer_len: usize,
    group: Option<group::Membership>,
    dropped: [u32; 2],
}

impl Live {
    /// Opens `name`, promiscuous, filtered to pfsync where the link type has filters, and joins
    /// pfsync's multicast groups there unless told not to.
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
        // An older system does not know the ioctl; then `turn` sees to it that packets are read in time.
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

    /// Gets ready for the loss of privileges. Counts go on from what the system tells afterwards:
    /// see [`Self::confined`].
    ///
    /// # Errors
    /// The system refuses to limit the descriptor.
    pub fn confine(&self) -> io::Result<()> {
        #[cfg(target_os = "freebsd")]
        sys::limit_capture(&self.capture)?;
        Ok(())
    }

    /// Takes counts as they are now for none. libpcap on Linux adds what files below /sys say,
    /// which it does not see any more when privileges are gone, and then counts backwards.
    pub fn confined(&mut self) {
        if let Ok(stats) = self.capture.stats() {
            self.dropped = [stats.dropped, stats.if_dropped];
        }
    }

    /// Why the multicast group could not be joined, if it could not.
    pub fn join_problem(&self) -> Option<&io::Error> {
        self.group.as_ref()?.problem.as_ref()
    }

    /// The kernel's buffer in octets, and what was asked for, if the system gave less.
    pub fn short_buffer(&self) -> Option<(usize, usize)> {
        let asked = usize::try_from(BUFFER_OCTETS).unwrap_or(0);
        (self.buffer_len < asked).then_some((self.buffer_len, asked))
    }

    /// What the handle captures.
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
