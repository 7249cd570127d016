//! The flags of pflowctl(8).

use crate::options::{Flag, flag, option, repeatable};

/// Every flag.
pub const FLAGS: &[Flag] = &[
    flag("a", "show all interfaces, as without a command"),
    flag("c", "create an interface, print its name"),
    flag("h", "print this and exit"),
    flag("j", "answers in JSON"),
    flag("l", "list the interfaces in a line each"),
    flag("V", "print the version and exit"),
    flag("v", "with -l tell of the sockets, too"),
    option("C", "shell", "print completions for sh, bash, zsh or fish"),
    option("d", "id", "destroy an interface"),
    repeatable(option(
        "s",
        "socket",
        "control socket, or without a slash: set this interface",
    )),
];
