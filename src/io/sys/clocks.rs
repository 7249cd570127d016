//! Clocks, and what processor time was used.

use std::mem::MaybeUninit;
use std::time::Duration;

/// The clock that counts from boot, sleep included where the system has one that does.
#[cfg(any(target_os = "linux", target_os = "openbsd"))]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_BOOTTIME;
/// FreeBSD, NetBSD and DragonFly: CLOCK_MONOTONIC counts from boot.
#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
const BOOT_CLOCK: libc::clockid_t = libc::CLOCK_MONOTONIC;

fn read_clock(clock: libc::clockid_t) -> (i64, u32) {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is a timespec that clock_gettime fills; it is read only if the call succeeded.
    let time = unsafe {
        if libc::clock_gettime(clock, time.as_mut_ptr()) != 0 {
            return (0, 0);
        }
        time.assume_init()
    };
    #[allow(
        clippy::useless_conversion,
        reason = "time_t is narrower on some systems"
    )]
    (
        i64::from(time.tv_sec),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Seconds and nanoseconds since this host came up.
pub(in crate::io) fn since_boot() -> (i64, u32) {
    read_clock(BOOT_CLOCK)
}

/// Seconds and nanoseconds since the epoch.
pub(in crate::io) fn since_epoch() -> (i64, u32) {
    read_clock(libc::CLOCK_REALTIME)
}

/// Processor time that this process used.
pub fn process_cpu() -> Duration {
    let (secs, nanos) = read_clock(libc::CLOCK_PROCESS_CPUTIME_ID);
    Duration::new(u64::try_from(secs).unwrap_or(0), nanos)
}

/// Processor time that this thread used.
pub fn thread_cpu() -> Duration {
    let (secs, nanos) = read_clock(libc::CLOCK_THREAD_CPUTIME_ID);
    Duration::new(u64::try_from(secs).unwrap_or(0), nanos)
}

/// Processor time that children used which were waited for.
pub fn children_cpu() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is an rusage that getrusage fills; it is read only if the call succeeded.
    let usage = unsafe {
        if libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) != 0 {
            return Duration::ZERO;
        }
        usage.assume_init()
    };
    let spent = |time: libc::timeval| {
        let secs = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0));
        secs + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    spent(usage.ru_utime) + spent(usage.ru_stime)
}
