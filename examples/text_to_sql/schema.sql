-- A mail-order house that does not exist: 48 tables. The line before each table says what it holds.

-- currencies: money of a country
CREATE TABLE currencies (currency_id INTEGER PRIMARY KEY, code TEXT, name TEXT);
-- countries: where we deliver
CREATE TABLE countries (country_id INTEGER PRIMARY KEY, name TEXT, iso_code TEXT, currency_id INTEGER REFERENCES currencies, vat_percent INTEGER);
-- addresses: postal addresses of customers, suppliers and warehouses
CREATE TABLE addresses (address_id INTEGER PRIMARY KEY, street TEXT, city TEXT, postcode TEXT, country_id INTEGER REFERENCES countries);
-- customers: who buys from us, private or business
CREATE TABLE customers (customer_id INTEGER PRIMARY KEY, name TEXT, email TEXT, phone TEXT, address_id INTEGER REFERENCES addresses, segment TEXT, joined_on TEXT, newsletter INTEGER);
-- customer_notes: what our staff wrote about a customer
CREATE TABLE customer_notes (note_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, written_on TEXT, body TEXT);
-- loyalty_accounts: bonus points of a customer
CREATE TABLE loyalty_accounts (account_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, level TEXT, points INTEGER, opened_on TEXT);
-- loyalty_movements: bonus points earned and spent
CREATE TABLE loyalty_movements (movement_id INTEGER PRIMARY KEY, account_id INTEGER REFERENCES loyalty_accounts, points INTEGER, reason TEXT, booked_on TEXT);
-- consents: what a customer agreed to, such as advertising
CREATE TABLE consents (consent_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, purpose TEXT, given_on TEXT, withdrawn_on TEXT);
-- categories: how the catalogue is arranged
CREATE TABLE categories (category_id INTEGER PRIMARY KEY, name TEXT, season TEXT);
-- brands: makers of products, as customers know them
CREATE TABLE brands (brand_id INTEGER PRIMARY KEY, name TEXT, country_id INTEGER REFERENCES countries);
-- products: what we sell
CREATE TABLE products (product_id INTEGER PRIMARY KEY, name TEXT, brand_id INTEGER REFERENCES brands, category_id INTEGER REFERENCES categories, weight_g INTEGER, listed_on TEXT, discontinued INTEGER);
-- product_prices: list price of a product from a day on
CREATE TABLE product_prices (price_id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products, amount_cents INTEGER, valid_from TEXT);
-- product_images: pictures of a product
CREATE TABLE product_images (image_id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products, file TEXT, width_px INTEGER, height_px INTEGER);
-- product_reviews: rating and words that customers gave a product
CREATE TABLE product_reviews (review_id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products, customer_id INTEGER REFERENCES customers, rating INTEGER, body TEXT, written_on TEXT);
-- tags: keywords of the catalogue
CREATE TABLE tags (tag_id INTEGER PRIMARY KEY, name TEXT);
-- product_tags: which keywords a product has
CREATE TABLE product_tags (product_tag_id INTEGER PRIMARY KEY, product_id INTEGER REFERENCES products, tag_id INTEGER REFERENCES tags);
-- suppliers: who we buy from
CREATE TABLE suppliers (supplier_id INTEGER PRIMARY KEY, name TEXT, email TEXT, address_id INTEGER REFERENCES addresses, rating INTEGER);
-- supplier_contracts: conditions agreed with a supplier
CREATE TABLE supplier_contracts (contract_id INTEGER PRIMARY KEY, supplier_id INTEGER REFERENCES suppliers, begins_on TEXT, ends_on TEXT, discount_percent INTEGER);
-- purchase_orders: what we ordered from a supplier
CREATE TABLE purchase_orders (purchase_order_id INTEGER PRIMARY KEY, supplier_id INTEGER REFERENCES suppliers, placed_on TEXT, expected_on TEXT, po_state TEXT);
-- purchase_order_lines: products of an order to a supplier
CREATE TABLE purchase_order_lines (purchase_line_id INTEGER PRIMARY KEY, purchase_order_id INTEGER REFERENCES purchase_orders, product_id INTEGER REFERENCES products, units INTEGER, cost_cents INTEGER);
-- warehouses: our buildings for stock
CREATE TABLE warehouses (warehouse_id INTEGER PRIMARY KEY, name TEXT, address_id INTEGER REFERENCES addresses, area_m2 INTEGER);
-- storage_bins: places on the shelves of a warehouse
CREATE TABLE storage_bins (bin_id INTEGER PRIMARY KEY, warehouse_id INTEGER REFERENCES warehouses, aisle TEXT, shelf INTEGER, cooled INTEGER);
-- stock_levels: units of a product that lie in a storage bin now
CREATE TABLE stock_levels (stock_level_id INTEGER PRIMARY KEY, bin_id INTEGER REFERENCES storage_bins, product_id INTEGER REFERENCES products, units INTEGER, reorder_at INTEGER);
-- stock_movements: units put into or taken out of a storage bin
CREATE TABLE stock_movements (stock_movement_id INTEGER PRIMARY KEY, bin_id INTEGER REFERENCES storage_bins, product_id INTEGER REFERENCES products, units INTEGER, moved_on TEXT, reason TEXT);
-- stock_counts: results of the yearly inventory
CREATE TABLE stock_counts (count_id INTEGER PRIMARY KEY, bin_id INTEGER REFERENCES storage_bins, counted_on TEXT, units INTEGER, counted_by TEXT);
-- carts: baskets that were filled and perhaps not ordered
CREATE TABLE carts (cart_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, opened_on TEXT, abandoned INTEGER);
-- cart_lines: products in a basket
CREATE TABLE cart_lines (cart_line_id INTEGER PRIMARY KEY, cart_id INTEGER REFERENCES carts, product_id INTEGER REFERENCES products, units INTEGER);
-- orders: what a customer ordered, with the state of the order
CREATE TABLE orders (order_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, ordered_on TEXT, order_state TEXT, channel TEXT, currency_id INTEGER REFERENCES currencies);
-- order_lines: products sold with an order, with units and price
CREATE TABLE order_lines (order_line_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, product_id INTEGER REFERENCES products, units INTEGER, price_cents INTEGER);
-- order_events: what happened to an order, and when
CREATE TABLE order_events (event_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, what TEXT, happened_on TEXT);
-- payments: money that came in for an order, by payment method
CREATE TABLE payments (payment_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, method TEXT, amount_cents INTEGER, paid_on TEXT);
-- refunds: money refunded of a payment
CREATE TABLE refunds (refund_id INTEGER PRIMARY KEY, payment_id INTEGER REFERENCES payments, amount_cents INTEGER, refunded_on TEXT, reason TEXT);
-- invoices: bills of orders, paid, open or overdue
CREATE TABLE invoices (invoice_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, issued_on TEXT, due_on TEXT, amount_cents INTEGER, invoice_state TEXT);
-- invoice_lines: items of a bill
CREATE TABLE invoice_lines (invoice_line_id INTEGER PRIMARY KEY, invoice_id INTEGER REFERENCES invoices, body TEXT, amount_cents INTEGER);
-- vouchers: codes that make an order cheaper
CREATE TABLE vouchers (voucher_id INTEGER PRIMARY KEY, code TEXT, discount_percent INTEGER, expires_on TEXT);
-- voucher_uses: which order used which code
CREATE TABLE voucher_uses (voucher_use_id INTEGER PRIMARY KEY, voucher_id INTEGER REFERENCES vouchers, order_id INTEGER REFERENCES orders, used_on TEXT);
-- carriers: who carries our parcels
CREATE TABLE carriers (carrier_id INTEGER PRIMARY KEY, name TEXT, phone TEXT, price_cents INTEGER);
-- shipments: an order handed to a carrier
CREATE TABLE shipments (shipment_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, carrier_id INTEGER REFERENCES carriers, warehouse_id INTEGER REFERENCES warehouses, shipped_on TEXT);
-- parcels: parcels of a shipment, delivered, lost or on the way
CREATE TABLE parcels (parcel_id INTEGER PRIMARY KEY, shipment_id INTEGER REFERENCES shipments, weight_g INTEGER, parcel_state TEXT, tracking TEXT);
-- returns: orders that customers sent back
CREATE TABLE returns (return_id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders, announced_on TEXT, received_on TEXT, reason TEXT);
-- return_lines: products sent back, and their condition
CREATE TABLE return_lines (return_line_id INTEGER PRIMARY KEY, return_id INTEGER REFERENCES returns, product_id INTEGER REFERENCES products, units INTEGER, condition TEXT);
-- departments: parts of the company
CREATE TABLE departments (department_id INTEGER PRIMARY KEY, name TEXT, cost_centre TEXT);
-- employees: who works here, in which department
CREATE TABLE employees (employee_id INTEGER PRIMARY KEY, name TEXT, department_id INTEGER REFERENCES departments, hired_on TEXT, salary_cents INTEGER);
-- absences: days on which an employee was absent, ill or on holiday
CREATE TABLE absences (absence_id INTEGER PRIMARY KEY, employee_id INTEGER REFERENCES employees, begins_on TEXT, days INTEGER, kind TEXT);
-- support_tickets: questions and complaints of customers, with priority and state
CREATE TABLE support_tickets (ticket_id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customers, employee_id INTEGER REFERENCES employees, opened_on TEXT, priority TEXT, ticket_state TEXT, subject TEXT);
-- ticket_messages: what was written in a support ticket
CREATE TABLE ticket_messages (message_id INTEGER PRIMARY KEY, ticket_id INTEGER REFERENCES support_tickets, author TEXT, body TEXT, written_on TEXT);
-- campaigns: advertising by letter or e-mail
CREATE TABLE campaigns (campaign_id INTEGER PRIMARY KEY, name TEXT, medium TEXT, begins_on TEXT, budget_cents INTEGER);
-- campaign_sends: which customer got which advertising, and whether it was opened
CREATE TABLE campaign_sends (send_id INTEGER PRIMARY KEY, campaign_id INTEGER REFERENCES campaigns, customer_id INTEGER REFERENCES customers, sent_on TEXT, opened INTEGER);
