//! A pf that a model plays, at the ioctl(2) of /dev/pf, and the requests that go there.
//!
//! Offsets of FreeBSD's `struct pf_state_export` were counted in its header once more: nothing here
//! looks at how the program reads it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use pflow::io::pf::{Asker, Ioctl};
use pflow::state::StateId;
use pflow::time::Uptime;
use pflow::wire::pf::Form;
use pflow::wire::pf::frames::Answer;

use super::common::Run;
use super::model::dialect::{Dialect, Layout};
use super::model::state::Micros;
use super::model::wire::{Image, Message};
use super::model::world::World;

/// The first firewall's pf.
struct Model {
    world: Rc<RefCell<World>>,
    now: Rc<Cell<Micros>>,
    /// States of the last read.
    read: Rc<Cell<u64>>,
    form: Form,
    /// What states are written in.
    dialect: Dialect,
}

impl Ioctl for Model {
    fn form(&self) -> Form {
        self.form
    }

    fn get_state(&mut self, state: &mut [u8]) -> io::Result<bool> {
        let id = u64::from_be_bytes(state[..8].try_into().unwrap());
        let creator = u32::from_be_bytes(state[236..240].try_into().unwrap());
        let world = self.world.borrow();
        let image = world.nodes[0].image_of(id, creator, self.now.get());
        if let Some(image) = image {
            state.copy_from_slice(&Message::Update(image).encode(&self.dialect));
        }
        Ok(image.is_some())
    }

    fn get_states(&mut self, states: &mut [u8]) -> io::Result<usize> {
        let world = self.world.borrow();
        if states.is_empty() {
            return Ok(384 * world.nodes[0].len());
        }
        let mut told = 0;
        let images = world.nodes[0].images(self.now.get());
        for (image, room) in images.zip(states.chunks_exact_mut(384)) {
            room.copy_from_slice(&export(&image, &self.dialect));
            told += 1;
        }
        self.read.set(told);
        Ok(384 * told as usize)
    }
}

/// A state as `struct pf_state_export`.
fn export(image: &Image, dialect: &Dialect) -> Vec<u8> {
    let state = Message::Update(*image).encode(dialect);
    let mut out = vec![0; 384];
    let mut put = |at: usize, octets: &[u8]| out[at..at + octets.len()].copy_from_slice(octets);
    put(0, &20_230_404_u64.to_ne_bytes());
    put(8, &image.id.to_be_bytes());
    put(16, image.ifname.as_bytes());
    put(32, image.origin.as_bytes());
    put(48, &state[24..60]);
    put(84, &state[60..96]);
    put(120, &state[96..160]);
    put(200, &image.rule.to_be_bytes());
    put(204, &[0xff; 8]);
    put(212, &image.age.to_be_bytes());
    put(216, &image.expire.to_be_bytes());
    for (n, counter) in image.packets.iter().chain(&image.octets).enumerate() {
        put(224 + 8 * n, &counter.to_ne_bytes());
    }
    put(256, &image.creator.to_be_bytes());
    // af, proto, direction, log, flags of old, timeout.
    let tail = [state[344], image.proto, image.direction as u8, image.log];
    put(264, &tail);
    put(268, &[image.flags as u8, image.timeout]);
    put(272, &image.flags.to_be_bytes());
    put(284, &(-1_i32).to_be_bytes());
    put(290, &image.max_mss.to_be_bytes());
    out
}

/// Who asks it.
pub(crate) struct StandIn {
    asker: Asker<Model>,
    now: Rc<Cell<Micros>>,
    read: Rc<Cell<u64>>,
    /// Nanoseconds that a state of a read costs.
    cost: u64,
}

impl StandIn {
    pub(crate) fn new(world: Rc<RefCell<World>>, dialect: &Dialect, cost: u64) -> Self {
        let (form, dialect) = match dialect.layout {
            Layout::V6(_) => (Form::OpenBsd, dialect.name),
            _ => (Form::FreeBsd, "fbsd15"),
        };
        let (now, read) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let model = Model {
            world,
            now: Rc::clone(&now),
            read: Rc::clone(&read),
            form,
            dialect: Dialect::named(dialect).unwrap(),
        };
        Self {
            asker: Asker::new(model, Uptime::new(0, 0)),
            now,
            read,
            cost,
        }
    }

    /// Takes the engine's requests, and gives it the answers that there are at `now`.
    pub(crate) fn answer(&mut self, run: &mut Run, now: Micros) {
        self.now.set(now);
        if let Some(solicitor) = run.engine.solicitor() {
            let ids: Vec<StateId> = std::mem::take(solicitor.pf_requests());
            solicitor.pf.asked += ids.len() as u64;
            assert!(self.asker.ask(&ids));
        }
        let uptime = Uptime::new(0, 0).after(Duration::from_micros(now));
        let (read, cost) = (Rc::clone(&self.read), self.cost);
        read.set(0);
        let mut clock = || uptime.after(Duration::from_nanos(read.get() * cost));
        let mut answers: Vec<Vec<u8>> = Vec::new();
        self.asker.handle_timeout(&mut clock, &mut |answer| {
            let mut octets = Vec::new();
            answer.write(&mut octets);
            answers.push(octets);
        });
        let now = run.now();
        for octets in answers {
            let (answer, _) = Answer::read(&octets).unwrap().unwrap();
            run.engine.handle_pf(now, &answer);
        }
    }
}
