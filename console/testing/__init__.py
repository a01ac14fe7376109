"""``headrace workflow test``: a workflow's cases, run through the pure core in virtual time, without Kafka.

`files` reads the test file and checks it as a whole; `driver` plays one job; `script` picks an answer for each call and
`answering` makes a worker's result of it; `expectations` says what is not as it should be; `report` tells people.
"""
