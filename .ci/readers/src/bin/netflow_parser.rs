//! IPFIX messages of a file on standard input, as netflow_parser reads them, a JSON object a line.

use std::error::Error;
use std::io::Read;

/// Octets of a message's header (RFC 7011, 3.1).
const HEADER: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut octets = Vec::new();
    std::io::stdin().read_to_end(&mut octets)?;
    let mut parser = netflow_parser::NetflowParser::default();
    let mut rest = &octets[..];
    while rest.len() >= HEADER {
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let (message, more) = rest.split_at_checked(len).ok_or("a message is cut short")?;
        rest = more;
        let read = parser.parse_bytes(message);
        if let Some(error) = read.error {
            return Err(format!("{error:?}").into());
        }
        for packet in read.packets {
            println!("{}", serde_json::to_string(&packet)?);
        }
    }
    Ok(())
}
