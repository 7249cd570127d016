//! /dev/pf itself.

#[cfg(not(any(target_os = "openbsd", target_os = "freebsd")))]
use std::convert::Infallible;
#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
use std::fs::File;
use std::io;

use super::Ioctl;
use crate::wire::pf::Form;

/// Where pf is.
#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
const PATH: &str = "/dev/pf";

/// /dev/pf, opened to be read only.
#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
#[derive(Debug)]
pub struct Device(File);

/// There is no pf here, or none that is known.
#[cfg(not(any(target_os = "openbsd", target_os = "freebsd")))]
#[derive(Debug)]
pub struct Device(Infallible);

#[cfg(not(any(target_os = "openbsd", target_os = "freebsd")))]
impl Device {
    /// See OpenBSD.
    ///
    /// # Errors
    /// Always.
    pub fn open() -> Result<Self, String> {
        Err("pf can be asked on OpenBSD and FreeBSD only".to_owned())
    }

    /// See OpenBSD.
    ///
    /// # Errors
    /// Never.
    pub fn confine(&self) -> io::Result<()> {
        match self.0 {}
    }
}

#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
impl Device {
    /// Opens it, and sees whether pf answers.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn open() -> Result<Self, String> {
        let file = File::open(PATH).map_err(|error| format!("{PATH}: {error}"))?;
        let mut device = Self(file);
        let asked = match device.form() {
            // No state has no creator.
            Form::OpenBsd => device.get_state(&mut [0; Form::OpenBsd.octets()]).map(drop),
            Form::FreeBsd => device.get_states(&mut []).map(drop),
        };
        match asked {
            Ok(()) => Ok(device),
            Err(error) => Err(format!("{PATH}: pf does not tell its states: {error}")),
        }
    }

    /// Leaves the descriptor nothing but the ioctl(2) that states are told by, and the process
    /// nothing to open, where the system can.
    ///
    /// # Errors
    /// What the system reports.
    pub fn confine(&self) -> io::Result<()> {
        #[cfg(target_os = "freebsd")]
        {
            crate::io::sys::limit_pf(&self.0)?;
            crate::io::sys::enter_capability_mode()?;
        }
        Ok(())
    }
}

#[cfg(target_os = "openbsd")]
impl Ioctl for Device {
    fn form(&self) -> Form {
        Form::OpenBsd
    }

    fn get_state(&mut self, state: &mut [u8]) -> io::Result<bool> {
        crate::io::sys::pf_state(&self.0, state)
    }

    fn get_states(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(target_os = "freebsd")]
impl Ioctl for Device {
    fn form(&self) -> Form {
        Form::FreeBsd
    }

    fn get_state(&mut self, _: &mut [u8]) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn get_states(&mut self, states: &mut [u8]) -> io::Result<usize> {
        crate::io::sys::pf_states(&self.0, states)
    }
}

#[cfg(not(any(target_os = "openbsd", target_os = "freebsd")))]
impl Ioctl for Device {
    fn form(&self) -> Form {
        match self.0 {}
    }

    fn get_state(&mut self, _: &mut [u8]) -> io::Result<bool> {
        match self.0 {}
    }

    fn get_states(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}
