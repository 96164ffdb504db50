"""The hallway: one section of settings becomes one object. Below this room nobody sees a section."""
