"""500 questions to four hosted models, recorded: what each costs, and what a cascade and votes make of them."""
