//! The terminal: taken over for a full screen, and given back whatever ends it.
//!
//! ```text
//! enter: raw mode, alternate screen            leave: both undone, cursor shown
//! quit, SIGINT, SIGTERM, SIGHUP, an error      Drop
//! a panic                                      the hook, before the message is printed
//! SIGTSTP, ^Z                                  leave, stop, enter
//! ```

use std::io::{self, Stdout, stdout};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use signal_hook::consts::SIGTSTP;

use super::model::TopModel;
use super::screen;
use crate::time::Uptime;

/// The terminal while it is taken over.
pub(super) struct Screen(Terminal<CrosstermBackend<Stdout>>);

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen)
}

fn leave() {
    // If the terminal has gone there is nothing to give back.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It is none, or has gone.
    pub(super) fn enter() -> io::Result<Self> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            hook(panic);
        }));
        // What was done of it is undone if the rest fails.
        let screen = Self(Terminal::new(CrosstermBackend::new(stdout()))?);
        enter()?;
        Ok(screen)
    }

    /// Draws the model, on a screen of the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal has gone.
    pub(super) fn draw(&mut self, model: &mut TopModel, now: Uptime) -> io::Result<()> {
        self.0.autoresize()?;
        model.handle_size(screen::page(self.0.size()?.height));
        self.0.draw(|frame| screen::draw(frame, model, now))?;
        Ok(())
    }

    /// Draws all anew with the next [`Self::draw`].
    ///
    /// # Errors
    /// The terminal has gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        // Terminal::clear asks where the cursor is, and the reading thread would take the answer.
        execute!(stdout(), Clear(ClearType::All))?;
        self.0 = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(())
    }

    /// Gives the terminal back and stops, until a shell says `fg`.
    ///
    /// # Errors
    /// The terminal has gone meanwhile.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        signal_hook::low_level::emulate_default_handler(SIGTSTP)?;
        enter()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}
