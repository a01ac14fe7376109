// Prints counters of a broker on this machine, a line of JSON for each line of input: how many requests of its
// transactional clients it took, and how many errors it answered. `java BrokerCounts.java PID`; `broker_counts.py`.
//
// The JVM is attached to, as its owner may: the broker needs no option for it and opens no port but a local one with a
// secret address. An error is counted once for each partition that a request names, as Kafka counts it.

import com.sun.tools.attach.VirtualMachine;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.StringJoiner;
import javax.management.MBeanServerConnection;
import javax.management.ObjectName;
import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

public final class BrokerCounts {
    private static final String METER = "kafka.network:type=RequestMetrics,name=";

    public static void main(String[] arguments) throws Exception {
        VirtualMachine broker = VirtualMachine.attach(arguments[0]);
        String address = broker.startLocalManagementAgent();
        broker.detach();
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in));
        try (JMXConnector connector = JMXConnectorFactory.connect(new JMXServiceURL(address))) {
            MBeanServerConnection beans = connector.getMBeanServerConnection();
            while (asked.readLine() != null) {
                StringJoiner counts = new StringJoiner(", ", "{", "}");
                add(counts, "concurrent", beans, "ErrorsPerSec,request=*,error=CONCURRENT_TRANSACTIONS");
                add(counts, "requests", beans, "RequestsPerSec,request=AddPartitionsToTxn,*");
                add(counts, "ended", beans, "RequestsPerSec,request=EndTxn,*");
                System.out.println(counts);
            }
        }
    }

    private static void add(StringJoiner counts, String name, MBeanServerConnection beans, String meter)
            throws Exception {
        long sum = 0;
        for (ObjectName bean : beans.queryNames(new ObjectName(METER + meter), null)) {
            sum += (Long) beans.getAttribute(bean, "Count");
        }
        counts.add("\"" + name + "\": " + sum);
    }
}
