// What scrolls sideways can be reached, and scrolled, by the keyboard.
document$.subscribe(() => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap, math[display=block], pre > code"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
});
