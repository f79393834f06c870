//! Which interface of the kernel the workers use.

use std::{fmt, io};

use crate::io::Uring;

/// Which interface of the kernel the workers use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverKind {
    /// io_uring where the kernel offers what it takes, or else epoll.
    #[default]
    Auto,
    /// epoll, through mio.
    Epoll,
    /// io_uring: Linux 6.0, and no filter that forbids it.
    IoUring,
}

impl DriverKind {
    /// Chooses a driver, [`Self::Epoll`] or [`Self::IoUring`], and says why.
    ///
    /// # Errors
    ///
    /// The kernel's, if io_uring was asked for and is not to be had.
    pub fn choose(self) -> io::Result<(Self, String)> {
        if self == Self::Epoll {
            return Ok((self, "asked for".into()));
        }
        match (Uring::new(), self) {
            (Ok(_), Self::Auto) => Ok((Self::IoUring, "it takes the least CPU here".into())),
            (Ok(_), _) => Ok((Self::IoUring, "asked for".into())),
            (Err(error), Self::Auto) => {
                Ok((Self::Epoll, format!("io_uring is not available: {error}")))
            }
            (Err(error), _) => Err(error),
        }
    }
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Epoll => "epoll",
            Self::IoUring => "io-uring",
        })
    }
}
