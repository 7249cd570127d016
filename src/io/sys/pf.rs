//! What pf(4) is asked.

use std::io;
use std::os::fd::AsRawFd;

use super::outcome;

/// `_IOWR('D', number, octets)` of sys/ioccom.h.
const fn iowr(number: u8, octets: usize) -> libc::c_ulong {
    const INOUT: libc::c_ulong = 0xc000_0000;
    INOUT
        | (octets as libc::c_ulong & 0x1fff) << 16
        | (b'D' as libc::c_ulong) << 8
        | number as libc::c_ulong
}

/// Asks OpenBSD's pf for the state that `state` names; false if there is none. `state` is as long as
/// a `struct pfsync_state`, which `struct pfioc_state` is.
///
/// # Errors
/// What ioctl(2) reports.
#[cfg(target_os = "openbsd")]
pub(in crate::io) fn pf_state(pf: &impl AsRawFd, state: &mut [u8]) -> io::Result<bool> {
    const LEN: usize = 264;
    const DIOCGETSTATE: libc::c_ulong = iowr(19, LEN);
    // The kernel wants the alignment of its u_int64_t.
    let mut aligned = [0_u64; LEN / 8];
    let from = state.get_mut(..LEN).ok_or(io::ErrorKind::InvalidInput)?;
    for (to, octets) in aligned.iter_mut().zip(from.chunks_exact(8)) {
        *to = u64::from_ne_bytes(octets.try_into().unwrap_or_default());
    }
    loop {
        // SAFETY: DIOCGETSTATE reads and writes the octets that its number says, which are there.
        match outcome(unsafe { libc::ioctl(pf.as_raw_fd(), DIOCGETSTATE, aligned.as_mut_ptr()) }) {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    for (octets, from) in state.chunks_exact_mut(8).zip(aligned) {
        octets.copy_from_slice(&from.to_ne_bytes());
    }
    Ok(true)
}

/// Asks FreeBSD's pf for its states, as many as `states` has room for; how many octets they take.
/// Without room, how many octets all take.
///
/// # Errors
/// What ioctl(2) reports.
#[cfg(target_os = "freebsd")]
pub(in crate::io) fn pf_states(pf: &impl AsRawFd, states: &mut [u8]) -> io::Result<usize> {
    let room = libc::c_int::try_from(states.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    loop {
        let mut wanted = States {
            ps_len: room,
            ps_req_version: VERSION,
            ps_buf: states.as_mut_ptr().cast(),
        };
        // SAFETY: DIOCGETSTATESV2 reads and writes this structure, whose size its number says, and
        // writes at most `ps_len` octets to `ps_buf`, which has so many.
        match outcome(unsafe { libc::ioctl(pf.as_raw_fd(), DIOCGETSTATESV2, &raw mut wanted) }) {
            Ok(()) => {
                let octets = usize::try_from(wanted.ps_len).unwrap_or(0);
                return Ok(if room == 0 {
                    octets
                } else {
                    octets.min(states.len())
                });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// `struct pfioc_states_v2` of net/pfvar.h.
#[cfg(target_os = "freebsd")]
#[repr(C)]
struct States {
    ps_len: libc::c_int,
    ps_req_version: u64,
    ps_buf: *mut libc::c_void,
}

/// PF_STATE_VERSION of net/pfvar.h.
#[cfg(target_os = "freebsd")]
const VERSION: u64 = 20_230_404;
/// Of net/pfvar.h.
#[cfg(target_os = "freebsd")]
const DIOCGETSTATESV2: libc::c_ulong = iowr(93, size_of::<States>());

/// Enters capability mode: nothing more can be opened.
///
/// # Errors
/// What cap_enter(2) reports.
#[cfg(target_os = "freebsd")]
pub(in crate::io) fn enter_capability_mode() -> io::Result<()> {
    // SAFETY: cap_enter(2) touches no memory.
    outcome(unsafe { libc::cap_enter() })
}

/// Leaves a descriptor of /dev/pf nothing but [`pf_states`].
///
/// # Errors
/// What cap_rights_limit(2) or cap_ioctls_limit(2) reports.
#[cfg(target_os = "freebsd")]
pub(in crate::io) fn limit_pf(pf: &impl AsRawFd) -> io::Result<()> {
    let mut rights = std::mem::MaybeUninit::<libc::cap_rights_t>::uninit();
    let commands = [DIOCGETSTATESV2];
    // SAFETY: __cap_rights_init fills `rights`, told by the 0 behind the rights where they end;
    // the limits read it and an array whose length goes with it.
    unsafe {
        libc::__cap_rights_init(
            libc::CAP_RIGHTS_VERSION,
            rights.as_mut_ptr(),
            libc::CAP_IOCTL,
            0_u64,
        );
        outcome(libc::cap_rights_limit(pf.as_raw_fd(), rights.as_ptr()))?;
        outcome(libc::cap_ioctls_limit(
            pf.as_raw_fd(),
            commands.as_ptr(),
            commands.len(),
        ))
    }
}
