//! The seam between the server and the kernel.
