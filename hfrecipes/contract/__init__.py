"""The rules that a task must satisfy, checked on its sample rows and a tiny model: `hfrecipes check my_task.py`."""
