mod model;
fn main() {
    let d = model::dialect::Dialect::named("obsd74").unwrap();
    let mut w = model::world::World::new(model::world::Settings::new(d));
    let mut n = 0;
    let mut b = 0;
    w.run_until(1200 * 1_000_000);
    while let Some((_, p)) = w.poll_packet() {
        n += 1;
        b += p.len();
    }
    println!("{n} {b} {:?} {}", w.nodes[0].counters, w.truth().len());
}
