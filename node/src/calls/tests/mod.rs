//! Several nodes and an emulated switch in one process, under paused time.

mod commands;
mod failover;
mod fencing;
mod flows;
mod gate;
mod keys;
mod leases;
mod merging;
mod trace;
mod world;
