//! Whether -F takes a message. The filter looks at the state in the message, or at the held state
//! that the message is about.

use std::net::IpAddr;

use crate::filter::{Filter, Subject};
use crate::flow;
use crate::state::Direction;
use crate::table::Held;
use crate::time::{NANOS, Now, Wall};
use crate::wire::pfsync::{Message, State};

/// Whether `filter` takes `message`, which came from `sender` at `stamp`. `held` is the state that
/// it is about, as the table has it before the message.
pub(super) fn takes(
    filter: &Filter,
    message: &Message<'_>,
    held: Option<&Held<'_>>,
    (now, stamp, sender): (Now, Wall, Option<IpAddr>),
) -> bool {
    let about = Subject {
        firewall: Some(sender.into()),
        creatorid: message.creatorid(),
        span: Some((stamp, stamp)),
        ..Subject::default()
    };
    match (message, held) {
        (Message::Insert(state) | Message::Update(state) | Message::Delete(state), _) => {
            takes_state(filter, state, about)
        }
        (Message::Clear(clear), _) => filter.admits(&Subject {
            interfaces: [Some(clear.ifname), None],
            ..about
        }),
        (_, Some(held)) => held.with_subject(now, |subject| {
            filter.admits(&Subject {
                firewall: about.firewall,
                span: about.span,
                ..*subject
            })
        }),
        (_, None) => filter.admits(&about),
    }
}

fn takes_state(filter: &Filter, state: &State<'_>, about: Subject<'_>) -> bool {
    let direction = state.direction();
    let (wire, stack) = (state.wire_key(), state.stack_key());
    // A state without a direction is refused before it comes here.
    let (before, after) = flow::tuples(direction.unwrap_or_default(), &wire, &stack);
    let values = state.values();
    let (stamp, _) = about.span.unwrap_or_default();
    let creation = Wall::from_nanos(stamp.nanos().saturating_sub(i64::from(values.age) * NANOS));
    filter.admits(&Subject {
        before: Some(&before),
        after: after.as_ref(),
        directions: [Direction::In, Direction::Out].map(|one| direction == Some(one)),
        interfaces: [Some(state.ifname()), None],
        rule: Some(state.rule()),
        octets: Some(values.octets),
        packets: Some(values.packets),
        duration: Some(values.age.into()),
        span: Some((creation, stamp)),
        ..about
    })
}
