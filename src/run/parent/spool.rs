//! The files of spools. The parent opens and removes them by number, if the configuration that it
//! read has the spool.
//!
//! ```text
//! spool UNIT TAG list          every segment: "number:octets number:octets .."
//! spool UNIT TAG new N         a segment, made
//! spool UNIT TAG open N        a segment, or nothing if it is not there
//! spool UNIT TAG remove N
//! spool UNIT TAG aside N       another name for a segment: the answer
//! spool UNIT TAG position      the file of the position, locked
//! ```
//! TAG is a checksum of the directory's name. If the parent's configuration names another directory
//! than the child's, the tags differ and the request is refused.

use std::fs::File;
use std::io;

use super::{Opened, Parent};
use crate::config::Config;
use crate::io::spool::SpoolDirectory;

pub(super) const SPOOL: &str = "spool";

/// Does what the child asks for.
pub(super) fn handle(config: &Config, request: &str) -> Result<Opened, String> {
    let mut words = request.split(' ');
    let unit = words.next().and_then(|unit| unit.parse().ok());
    let own = words.next();
    let (verb, number) = (words.next(), words.next().map(str::parse::<u32>));
    let unit: u32 = unit.ok_or("no interface")?;
    let settings = config.interfaces.get(&unit);
    let spool = settings.and_then(|settings| settings.spool.as_ref());
    let spool = spool
        .filter(|spool| Some(&*tag(&spool.directory)) == own)
        .ok_or("only a spool that the configuration's files name can be used")?;
    let directory = SpoolDirectory::new(&spool.directory, unit);
    let outcome = match (verb, number) {
        (Some("list"), None) => directory.list().map(|segments| {
            let segments = segments.iter();
            let texts: Vec<_> = segments
                .map(|(number, octets)| format!("{number}:{octets}"))
                .collect();
            Opened::Text(texts.join(" "))
        }),
        (Some("position"), None) => directory.position().map(descriptor),
        (Some("new"), Some(Ok(number))) => directory.create(number).map(descriptor),
        (Some("open"), Some(Ok(number))) => or_nothing(directory.open(number).map(descriptor)),
        (Some("remove"), Some(Ok(number))) => {
            or_nothing(directory.remove(number).map(|()| Opened::Nothing))
        }
        (Some("aside"), Some(Ok(number))) => directory.set_aside(number).map(Opened::Text),
        _ => return Err("unknown request".to_owned()),
    };
    outcome.map_err(|error| error.to_string())
}

/// The checksum that stands for a directory.
fn tag(directory: &str) -> String {
    format!("{:08x}", crc32fast::hash(directory.as_bytes()))
}

fn descriptor(file: File) -> Opened {
    Opened::Descriptor(file.into())
}

/// Takes a file that does not exist for [`Opened::Nothing`].
fn or_nothing(outcome: io::Result<Opened>) -> io::Result<Opened> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Opened::Nothing),
        outcome => outcome,
    }
}

/// The files of a spool, which the parent opens.
pub(in crate::run) struct SpoolFiles {
    parent: Parent,
    unit: u32,
    tag: String,
}

impl Parent {
    /// The files of the spool of pflow`unit` that is in `directory`.
    pub(in crate::run) fn spool(&self, unit: u32, directory: &str) -> SpoolFiles {
        let (parent, tag) = (self.clone(), tag(directory));
        SpoolFiles { parent, unit, tag }
    }
}

impl SpoolFiles {
    /// Asks the parent. Only at the start it waits for a parent that is busy; later it returns
    /// `WouldBlock`.
    fn ask(&self, request: &str, is_start: bool) -> io::Result<(String, Option<File>)> {
        let request = format!("{SPOOL} {} {} {request}", self.unit, self.tag);
        let mut asking = match is_start {
            true => self.parent.asking(),
            false => self
                .parent
                .asking_now()
                .map_err(|_| io::ErrorKind::WouldBlock)?,
        };
        let (text, descriptor) = asking.ask(&request).map_err(io::Error::other)?;
        Ok((text, descriptor.map(File::from)))
    }

    fn file(&self, request: &str, is_start: bool) -> io::Result<File> {
        let (_, file) = self.ask(request, is_start)?;
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(in crate::run) fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let (text, _) = self.ask("list", true)?;
        let segments = text.split_whitespace().map(|segment| {
            let (number, octets) = segment.split_once(':')?;
            Some((number.parse().ok()?, octets.parse().ok()?))
        });
        let nonsense = || io::Error::other("parent process: nonsense");
        segments.collect::<Option<_>>().ok_or_else(nonsense)
    }

    pub(in crate::run) fn position(&self) -> io::Result<File> {
        self.file("position", true)
    }

    pub(in crate::run) fn create(&self, number: u32, is_start: bool) -> io::Result<File> {
        self.file(&format!("new {number}"), is_start)
    }

    pub(in crate::run) fn open(&self, number: u32, is_start: bool) -> io::Result<File> {
        self.file(&format!("open {number}"), is_start)
    }

    pub(in crate::run) fn remove(&self, number: u32) -> io::Result<()> {
        self.ask(&format!("remove {number}"), false).map(drop)
    }

    pub(in crate::run) fn set_aside(&self, number: u32) -> io::Result<String> {
        let (name, _) = self.ask(&format!("aside {number}"), false)?;
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::apply_text;

    #[test]
    fn only_the_spool_that_the_configuration_names_is_served_and_by_number() {
        let path = std::env::temp_dir().join(format!("pflow-parent-spool-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let name = path.to_str().unwrap();
        let mut config = Config::default();
        let line = format!("pflow3 pflowproto 10 transport tcp spool {name} 1M\npflow4 create\n");
        apply_text(&mut config, "test", &line).unwrap();
        let ask = |request: &str| match handle(&config, request)? {
            Opened::Text(text) => Ok(text),
            Opened::Descriptor(_) => Ok("a descriptor".to_owned()),
            Opened::Both(..) => Err("both".to_owned()),
            Opened::Nothing => Ok("nothing".to_owned()),
        };
        let (own, other) = (tag(name), tag("/etc"));
        let outcomes = [
            (format!("3 {own} new 7"), "a descriptor"),
            (format!("3 {own} list"), "7:0"),
            (format!("3 {own} open 7"), "a descriptor"),
            (format!("3 {own} open 8"), "nothing"),
            (format!("3 {own} position"), "a descriptor"),
            (format!("3 {own} aside 7"), "pflow3.000007.damaged"),
            (format!("3 {own} remove 7"), "nothing"),
        ];
        for (request, outcome) in outcomes {
            assert_eq!(ask(&request).as_deref(), Ok(outcome), "{request}");
        }
        let named = "only a spool that the configuration's files name can be used";
        let refused = [
            (format!("3 {other} list"), named),
            (format!("4 {own} list"), named),
            (format!("5 {own} list"), named),
            ("3".to_owned(), named),
            (format!("x {own} list"), "no interface"),
            (format!("3 {own} open ../../etc/passwd"), "unknown request"),
            (format!("3 {own} open -1"), "unknown request"),
            (format!("3 {own} open"), "unknown request"),
            (format!("3 {own} list 7"), "unknown request"),
        ];
        for (request, problem) in refused {
            assert_eq!(ask(&request), Err(problem.to_owned()), "{request}");
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}
