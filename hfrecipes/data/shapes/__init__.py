"""Published shapes of rows: answers, choices, dialogues, spans of characters, lists in cells."""
