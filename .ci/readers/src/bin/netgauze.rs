//! IPFIX messages of a file on standard input, as NetGauze reads them, a JSON object a line.

use std::collections::HashMap;
use std::error::Error;
use std::io::Read;

use netgauze_flow_pkt::ipfix::IpfixPacket;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;

fn main() -> Result<(), Box<dyn Error>> {
    let mut octets = Vec::new();
    std::io::stdin().read_to_end(&mut octets)?;
    let mut templates = HashMap::new();
    let mut rest = SliceReader::new(&octets);
    while !rest.is_empty() {
        let message = IpfixPacket::parse(&mut rest, &mut templates)?;
        println!("{}", serde_json::to_string(&message)?);
    }
    Ok(())
}
