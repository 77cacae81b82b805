"""What two snapshots of a Wikipedia tell: new text, text that stayed, and facts in either."""
