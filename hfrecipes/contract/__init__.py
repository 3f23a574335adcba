"""The rules that a task keeps, checked on its sample rows and a tiny model: `hfrecipes check my_task.py`."""
