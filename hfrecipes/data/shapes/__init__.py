"""Published shapes of rows: answers, choices, dialogues, labels, tags and spans of characters, lists in cells."""
