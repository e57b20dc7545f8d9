"""A message that stays and moves while something is computed."""

# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
import tkinter as tk
from typing import Any, Callable

SLOW = 4.0  # seconds after which the user is told why it may take long


class WaitingMessage:
    """Shows a message, how long it has been there, and the last words of what is at work.

    Parameters
    ----------
    parent : tkinter widget
    message : str
    work : callable
        Called once with `tick`, which it is to call as ``tick(words)`` several times a second.
    """

    def __init__(self, parent: Any, message: str, work: Callable[[Callable], None]) -> None:
        self.message, self.begin, self.problem = message, time.monotonic(), None
        self.window = tk.Toplevel(parent)
        self.window.withdraw()
        self.window.title("pcainit")
        self.window.resizable(False, False)
        self.window.protocol("WM_DELETE_WINDOW", lambda: None)  # it closes when the work is done
        self.label = tk.Label(self.window, justify="left", anchor="w", width=64, padx=16, pady=12)
        self.label.pack()
        self.tick("")
        self.window.update_idletasks()
        x = parent.winfo_rootx() + (parent.winfo_width() - self.window.winfo_reqwidth()) // 2
        y = parent.winfo_rooty() + parent.winfo_height() // 3
        self.window.geometry("+%d+%d" % (max(x, 0), max(y, 0)))
        self.window.deiconify()
        self.window.update()
        self.window.grab_set()
        try:
            work(self.tick)
        finally:
            self.window.grab_release()
            self.window.destroy()

    def tick(self, words: str) -> None:
        """Show that time goes on, and let the window draw itself."""
        seconds = time.monotonic() - self.begin
        lines = ["%s  %.0f s" % (self.message, seconds), words]
        if seconds > SLOW:
            lines.append("The first time after installation this compiles some functions (30 s).")
        self.label.config(text="\n".join(line for line in lines if line))
        self.window.update()
